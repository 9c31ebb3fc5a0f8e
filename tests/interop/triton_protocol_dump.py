"""Writes Triton's own protocol as JSON, and its reading of the config.pbtxt on standard input.

Runs in the environment of requirements/interop.txt. It imports nothing of this repository.
"""

import json
import sys
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2, service_pb2


def describe(message: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a message's fields and those of the messages in it, by full name."""
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


def main() -> None:
    messages: dict[str, Any] = {}
    for module in (service_pb2, model_config_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            messages |= describe(message)
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    methods = {
        method.name: [method.input_type.full_name, method.output_type.full_name] for method in service.methods
    }
    datatypes = dict(model_config_pb2.DataType.items())
    config = text_format.Parse(sys.stdin.read(), model_config_pb2.ModelConfig())
    read = json_format.MessageToDict(config, preserving_proto_field_name=True)
    json.dump({"messages": messages, "methods": methods, "datatypes": datatypes, "config": read}, sys.stdout)


if __name__ == "__main__":
    main()
