import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.common.errors import FailedPreconditionError, NotFoundError, UnavailableError
from services.model_server.layout import Layout
from services.model_server.repository import IndexEntry
from services.model_server.statistics import Phases
from tests.unit.model_server import models
from tests.unit.model_server.repositories import ask, lines, open_repository

PHASES = Phases(input_ns=1, queue_ns=1, infer_ns=1)


def tree(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


async def test_an_empty_folder_and_no_folder_serve_nothing_and_create_nothing(tmp_path: Path) -> None:
    before = tree(tmp_path)
    for root in (tmp_path, tmp_path / "absent"):
        repository = open_repository(root)
        await repository.load_all()
        await repository.poll()
        assert await lines(repository) == []
        with pytest.raises(NotFoundError) as refusal:
            repository.find("m")
        assert refusal.value.reason == "MODEL_UNKNOWN"
    assert tree(tmp_path) == before


async def test_models_there_at_the_start_are_served_and_other_folders_are_none(tmp_path: Path) -> None:
    models.write_version(tmp_path, "a", 1, models.scale_model(1.0))
    models.write_version(tmp_path, "b", 3, models.scale_model(2.0))
    (tmp_path / "b" / "007").mkdir()
    (tmp_path / "b" / "notes").mkdir()
    (tmp_path / ".staging" / "1").mkdir(parents=True)
    (tmp_path / "README").write_text("not a model")
    repository = open_repository(tmp_path)
    await repository.load_all()
    assert await lines(repository) == [("a", "1", "READY"), ("b", "3", "READY")]
    assert ask(repository, "b") == 2.0
    assert [version.version for version in repository.served_versions("b")] == ["3"]
    assert [version.model for version in repository.served_versions()] == ["a", "b"]


async def test_versions_are_served_side_by_side_as_the_policy_says(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        models.write_version(tmp_path, "m", version, models.scale_model(float(version)))
    models.write_config(tmp_path, "m", "version_policy { specific { versions: [ 1, 10 ] } }")
    repository = open_repository(tmp_path)
    await repository.load_all()
    assert ask(repository, "m") == 10.0
    assert ask(repository, "m", "1") == 1.0
    assert repository.is_ready("m", "10")
    assert not repository.is_ready("m", "2")
    with pytest.raises(NotFoundError, match="serves no version '2'; it serves 10, 1") as refusal:
        repository.find("m", "2")
    assert refusal.value.reason == "VERSION_UNKNOWN"


async def test_a_new_version_takes_over_on_load_and_what_held_the_old_one_keeps_it(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    repository = open_repository(tmp_path)
    await repository.load("m")
    held = repository.find("m")
    models.write_version(tmp_path, "m", 2, models.scale_model(2.0))
    assert ask(repository, "m") == 1.0
    await repository.load("m")
    assert ask(repository, "m") == 2.0
    (answer,) = held.session.run({"x": np.ones((1, 2), np.float32)}, ["y"])
    assert answer[0, 0] == 1.0
    assert await lines(repository) == [("m", "2", "READY")]


async def test_a_version_whose_files_are_the_same_is_kept_whatever_versions_the_config_names(
    tmp_path: Path,
) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    models.write_config(tmp_path, "m", "version_policy { specific { versions: [ 1 ] } }")
    repository = open_repository(tmp_path)
    await repository.load("m")
    first = repository.find("m", "1")
    models.write_version(tmp_path, "m", 2, models.scale_model(2.0))
    models.write_config(tmp_path, "m", "version_policy { specific { versions: [ 1, 2 ] } }")
    await repository.load("m")
    assert repository.find("m", "1") is first
    models.write_config(tmp_path, "m", "max_batch_size: 8 version_policy { specific { versions: [ 1 ] } }")
    await repository.load("m")
    assert repository.find("m", "1") is not first
    assert repository.find("m").spec.max_batch_size == 8


async def test_a_replaced_file_of_one_version_is_loaded_anew(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    repository = open_repository(tmp_path)
    await repository.load("m")
    (tmp_path / "new").write_bytes(models.scale_model(5.0))
    (tmp_path / "new").replace(tmp_path / "m" / "1" / "model.onnx")
    await repository.load("m")
    assert ask(repository, "m") == 5.0


@pytest.mark.parametrize(
    ("content", "config"),
    [
        (b"garbage", ""),
        (models.broken_model(), "max_batch_size: 8"),
        (models.scale_model(2.0), "max_batch_size: none"),
        (models.scale_model(2.0), 'input { name: "q" data_type: TYPE_FP32 dims: [ -1, 2 ] }'),
        (models.scale_model(2.0), "version_policy { specific { versions: [ 2, 7 ] } }"),
    ],
)
async def test_what_does_not_load_is_refused_while_the_old_one_serves(
    tmp_path: Path, content: bytes, config: str
) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    repository = open_repository(tmp_path)
    await repository.load("m")
    models.write_version(tmp_path, "m", 2, content)
    if config:
        models.write_config(tmp_path, "m", config)
    with pytest.raises(FailedPreconditionError, match="model 'm'") as refusal:
        await repository.load("m")
    assert str(tmp_path) not in refusal.value.message
    assert ask(repository, "m") == 1.0
    entries = await repository.index(ready_only=False)
    assert entries == [
        IndexEntry(model="m", version="1", state="READY"),
        IndexEntry(model="m", version="", state="UNAVAILABLE", reason=refusal.value.message),
    ]
    assert await lines(repository, ready_only=True) == [("m", "1", "READY")]


async def test_after_a_restart_an_older_version_stands_in_for_one_that_does_not_load(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    models.write_version(tmp_path, "m", 2, b"garbage")
    repository = open_repository(tmp_path)
    await repository.load_all()
    assert ask(repository, "m") == 1.0
    assert await lines(repository) == [("m", "1", "READY"), ("m", "2", "UNAVAILABLE")]
    with pytest.raises(UnavailableError) as refusal:
        repository.find("m", "2")
    assert refusal.value.reason == "VERSION_NOT_READY"


async def test_after_a_restart_what_loads_of_the_named_versions_serves(tmp_path: Path) -> None:
    for version, content in ((1, models.scale_model(1.0)), (2, b"garbage"), (3, models.scale_model(3.0))):
        models.write_version(tmp_path, "m", version, content)
    models.write_config(tmp_path, "m", "version_policy { specific { versions: [ 1, 2 ] } }")
    repository = open_repository(tmp_path)
    await repository.load_all()
    assert await lines(repository) == [("m", "1", "READY"), ("m", "2", "UNAVAILABLE")]


async def test_after_a_restart_a_named_version_that_is_gone_takes_no_other_with_it(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 2, models.scale_model(2.0))
    models.write_config(tmp_path, "m", "version_policy { specific { versions: [ 1, 2 ] } }")
    repository = open_repository(tmp_path)
    await repository.load_all()
    assert await repository.index(ready_only=False) == [
        IndexEntry(model="m", version="2", state="READY"),
        IndexEntry(model="m", version="1", state="UNAVAILABLE", reason="it is not in the repository"),
    ]
    with pytest.raises(UnavailableError) as refusal:
        repository.find("m", "1")
    assert refusal.value.reason == "VERSION_NOT_READY"
    with pytest.raises(FailedPreconditionError, match=r"of which \[1\] are not in the repository"):
        await repository.load("m")
    assert ask(repository, "m") == 2.0


async def test_one_bad_model_does_not_keep_the_others_from_serving(tmp_path: Path) -> None:
    models.write_version(tmp_path, "bad", 1, b"garbage")
    models.write_version(tmp_path, "good", 1, models.scale_model(1.0))
    (tmp_path / "hollow").mkdir()
    repository = open_repository(tmp_path)
    await repository.load_all()
    entries = {entry.model: entry for entry in await repository.index(ready_only=False)}
    assert entries["good"].state == "READY"
    assert entries["bad"].reason == "model 'bad': version 1: the model file cannot be loaded"
    assert entries["hollow"].reason == "model 'hollow': the repository has no version of it"
    with pytest.raises(UnavailableError) as refusal:
        repository.find("bad")
    assert refusal.value.reason == "MODEL_NOT_READY"


@pytest.mark.parametrize("name", ["nothing", "", ".", "..", "../m", "m/1", "/etc", ".staging"])
async def test_only_models_of_the_folder_can_be_loaded_or_unloaded(tmp_path: Path, name: str) -> None:
    models.write_version(tmp_path / "repository", "m", 1, models.scale_model(1.0))
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    (tmp_path / "repository" / ".staging").mkdir()
    repository = open_repository(tmp_path / "repository")
    with pytest.raises(NotFoundError):
        await repository.load(name)
    with pytest.raises(NotFoundError):
        await repository.unload(name)


async def test_an_unloaded_model_is_unavailable_until_it_is_loaded_again(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    repository = open_repository(tmp_path)
    await repository.unload("m")
    await repository.load_all()
    served = {"model": "m", "version": "1"}
    assert REGISTRY.get_sample_value("model_server_served", served) == 1
    await repository.unload("m")
    await repository.unload("m")
    assert REGISTRY.get_sample_value("model_server_served", served) is None
    assert await repository.index(ready_only=False) == [
        IndexEntry(model="m", version="", state="UNAVAILABLE", reason="not loaded")
    ]
    with pytest.raises(UnavailableError):
        repository.served_model("m")
    await repository.load("m")
    assert repository.served_model("m").name == "m"


async def test_a_version_has_metrics_while_it_is_served_and_only_then(tmp_path: Path) -> None:
    """First 1 and 2, then 2 alone: what 1 still does counts for nobody. 3 is refused for want of 9."""
    for version in (1, 2):
        models.write_version(tmp_path, "metered", version, models.scale_model(1.0))
    models.write_config(tmp_path, "metered", "version_policy { specific { versions: [ 1, 2 ] } }")
    repository = open_repository(tmp_path)
    await repository.load("metered")
    held = repository.find("metered", "1").statistics
    for statistics in (held, repository.find("metered", "2").statistics):
        statistics.record_success(5, PHASES)
    both = versions_with_series("metered")
    models.write_config(tmp_path, "metered", "version_policy { specific { versions: [ 2 ] } }")
    await repository.load("metered")
    held.record_success(5, PHASES)
    held.record_execution(5, input_ns=1, infer_ns=1)
    held.record_failure(1)
    models.write_version(tmp_path, "metered", 3, models.scale_model(1.0))
    models.write_config(tmp_path, "metered", "version_policy { specific { versions: [ 2, 3, 9 ] } }")
    with pytest.raises(FailedPreconditionError):
        await repository.load("metered")
    repository.find("metered", "2").statistics.record_success(5, PHASES)
    one = versions_with_series("metered")
    rows = REGISTRY.get_sample_value("model_server_rows_total", {"model": "metered", "version": "2"})
    await repository.unload("metered")
    assert set(both) == {"1", "2"}
    assert both["1"] == both["2"] > 20
    assert one == {"2": both["2"]}
    assert rows == 10
    assert not versions_with_series("metered")


def versions_with_series(model: str) -> Counter[str]:
    """Return how many samples each version of a model has in the metrics."""
    samples = (sample for metric in REGISTRY.collect() for sample in metric.samples)
    named = [sample.labels for sample in samples if sample.labels.get("model") == model]
    return Counter(labels["version"] for labels in named if "version" in labels)


async def test_a_model_that_was_never_loaded_is_in_the_index(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    assert await lines(open_repository(tmp_path)) == [("m", "", "UNAVAILABLE")]


async def test_a_folder_that_cannot_be_read_is_said_without_its_path(tmp_path: Path) -> None:
    models.write_version(tmp_path, "m", 1, models.scale_model(1.0))
    os.symlink("loop", tmp_path / "m" / "1" / "loop")
    repository = open_repository(tmp_path, polls=True)
    with pytest.raises(FailedPreconditionError) as refusal:
        await repository.load("m")
    assert refusal.value.message == "model 'm': its files cannot be read"
    await repository.poll()
    assert not repository.is_ready("m")


async def test_a_repository_that_cannot_be_listed_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Layout) -> list[str]:
        raise PermissionError(13, "denied", "/secret/place")

    monkeypatch.setattr(Layout, "list_models", refuse)
    with pytest.raises(UnavailableError) as refusal:
        await open_repository(tmp_path).load("m")
    assert refusal.value.message == "the repository folder cannot be read"
