import shutil
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.common.errors import FailedPreconditionError
from tests.unit.model_server import models
from tests.unit.model_server.repositories import ask, lines, open_repository


async def test_polling_sees_what_is_new_changed_and_gone(tmp_path: Path) -> None:
    repository = open_repository(tmp_path, polls=True)
    await repository.poll()
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    await repository.poll()
    first = repository.find("m")
    await repository.poll()
    assert repository.find("m") is first
    models.write_version(tmp_path, "m", 2, models.scale_model(2.0))
    await repository.poll()
    assert ask(repository, "m") == 2.0
    shutil.rmtree(tmp_path / "m")
    await repository.poll()
    assert await lines(repository) == []


async def test_polling_tries_a_refused_model_again_only_when_its_files_change(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, b"garbage")
    repository = open_repository(tmp_path, polls=True)
    refused = {"model": "m", "outcome": "refused"}
    before = REGISTRY.get_sample_value("model_server_loads_total", refused) or 0
    for _ in range(3):
        await repository.poll()
    assert REGISTRY.get_sample_value("model_server_loads_total", refused) == before + 1
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(models.scale_model(4.0))
    await repository.poll()
    assert ask(repository, "m") == 4.0


async def test_a_lost_folder_unloads_nothing(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    models.write_version(root, "m", 1, models.scale_model(1.0))
    repository = open_repository(root, polls=True)
    await repository.poll()
    root.rename(tmp_path / "elsewhere")
    await repository.poll()
    assert ask(repository, "m") == 1.0


async def test_unloading_is_refused_while_polling(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError) as refusal:
        await open_repository(tmp_path, polls=True).unload("m")
    assert refusal.value.reason == "UNLOAD_WHILE_POLLING"
