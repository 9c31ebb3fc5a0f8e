"""Our protocol file and what the training publishes, against Triton's protocol as its client carries it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from gen.inference import grpc_service_pb2 as pb
from services.model_server.config import parse_config
from services.optimizer.domain.features import FEATURE_NAMES
from services.optimizer.domain.models.version import INPUT_NAME, MAX_BATCH_SIZE, OUTPUT_NAME
from services.optimizer.model_repository import render_config

DUMP = Path(__file__).with_name("triton_protocol_dump.py")
CONFIG = render_config("conversion", [3, 11])


@pytest.fixture(scope="module")
def triton(interop_python: Path) -> dict[str, Any]:
    """Triton's messages, methods and datatypes, and how it reads `CONFIG`."""
    done = subprocess.run(
        [str(interop_python), str(DUMP)],
        input=CONFIG,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def describe(message: Descriptor) -> dict[str, dict[str, list[Any]]]:
    fields = {
        field.name: [
            field.number,
            field.type,
            field.is_repeated,
            field.message_type and field.message_type.name,
        ]
        for field in message.fields
    }
    found = {message.full_name: fields}
    for nested in message.nested_types:
        found |= describe(nested)
    return found


def test_every_field_has_the_name_the_number_and_the_type_that_triton_gives_it(
    triton: dict[str, Any],
) -> None:
    ours: dict[str, dict[str, list[Any]]] = {}
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        ours |= describe(message)
    assert len(ours) > 40
    for message_name, fields in ours.items():
        theirs = triton["messages"][message_name]
        for name, field in fields.items():
            assert field == theirs[name], f"{message_name}.{name}"


def test_every_method_takes_and_gives_what_tritons_does(triton: dict[str, Any]) -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert len(service.methods) == 11
    for method in service.methods:
        given = [method.input_type.full_name, method.output_type.full_name]
        assert given == triton["methods"][method.name], method.name


def test_datatypes_have_tritons_numbers(triton: dict[str, Any]) -> None:
    assert dict(pb.DataType.items()) == triton["datatypes"]


def test_triton_reads_what_the_training_publishes_as_this_server_does(triton: dict[str, Any]) -> None:
    read = triton["config"]
    assert (read["name"], read["backend"], read["max_batch_size"]) == (
        "conversion",
        "onnxruntime",
        MAX_BATCH_SIZE,
    )
    assert read["version_policy"] == {"specific": {"versions": ["3", "11"]}}
    assert read["input"] == [
        {"name": INPUT_NAME, "data_type": "TYPE_FP32", "dims": [str(len(FEATURE_NAMES))]}
    ]
    assert read["output"] == [{"name": OUTPUT_NAME, "data_type": "TYPE_FP32", "dims": ["1"]}]
    ours = parse_config(CONFIG, "conversion")
    assert list(ours.version_policy.specific.versions) == [3, 11]
    assert ours.default_model_filename == "model.onnx", "the name that Triton's backend looks for by default"
