"""The repository on disk: whole or not at all, numbers never used twice."""

import errno
import os
from functools import partial
from pathlib import Path

import pytest
from google.protobuf import text_format

from gen.inference import grpc_service_pb2 as pb
from services.common.errors import InternalError
from services.optimizer import model_repository
from services.optimizer.model_repository import ModelRepository, render_config


def test_a_version_appears_whole_and_leftovers_are_cleared(tmp_path: Path) -> None:
    left = tmp_path / "conversion/.staging-7"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half")
    repository = ModelRepository(tmp_path, "conversion")
    repository.write_version(1, b"whole")
    repository.write_config([1])
    assert sorted(path.name for path in (tmp_path / "conversion").iterdir()) == ["1", "config.pbtxt"]
    assert repository.read_model(1) == b"whole"
    assert repository.read_model(2) is None


def test_numbers_go_on_after_what_the_database_and_the_folder_know(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path, "conversion")
    assert repository.next_version(0) == 1
    repository.write_version(5, b"orphan of a killed training")
    assert repository.next_version(3) == 6
    assert repository.next_version(9) == 10


def test_the_config_names_only_versions_that_are_there(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path, "conversion")
    repository.write_version(3, b"model")
    repository.write_config([3, 2])
    config = pb.ModelConfig()
    text_format.Parse((tmp_path / "conversion/config.pbtxt").read_text(), config)
    assert list(config.version_policy.specific.versions) == [3]


def test_the_config_is_tritons_for_the_onnx_backend() -> None:
    config = pb.ModelConfig()
    text_format.Parse(render_config("conversion", [4, 9]), config)
    assert config.name == "conversion"
    assert config.backend == "onnxruntime"
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.input] == [
        ("features", pb.TYPE_FP32, [7])
    ]
    assert [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.output] == [
        ("conversion_rate", pb.TYPE_FP32, [1])
    ]
    assert list(config.version_policy.specific.versions) == [4, 9]


def test_a_disk_that_is_full_is_named_and_nothing_half_written_stays_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(path: Path, content: bytes) -> None:
        path.write_bytes(content[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    repository = ModelRepository(tmp_path, "conversion")
    repository.write_version(1, b"model")
    repository.write_config([1])
    before = repository.read_config()
    monkeypatch.setattr(model_repository, "_write_durably", fill_disk)
    for write in (partial(repository.write_version, 2, b"model"), partial(repository.write_config, [])):
        with pytest.raises(InternalError, match="cannot be written: No space left on device"):
            write()
    assert sorted(path.name for path in (tmp_path / "conversion").iterdir()) == ["1", "config.pbtxt"]
    assert repository.read_config() == before
    assert repository.read_model(1) == b"model"


def test_a_repository_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "conversion").write_bytes(b"")
    repository = ModelRepository(tmp_path, "conversion")
    with pytest.raises(InternalError, match="cannot be written: File exists"):
        repository.write_version(1, b"model")


def test_a_version_is_removed_whatever_an_earlier_removal_left(tmp_path: Path) -> None:
    left = tmp_path / "conversion/.staging-removed-1"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half")
    repository = ModelRepository(tmp_path, "conversion")
    (tmp_path / "conversion/1").mkdir()
    (tmp_path / "conversion/1/model.onnx").write_bytes(b"from a backup")
    repository.remove_version(1)
    assert list((tmp_path / "conversion").iterdir()) == []
