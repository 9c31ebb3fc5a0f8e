"""What the gateway must know of the contract, read from the descriptor set: rpcs and their REST forms."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One REST form of an rpc.

    `path_fields` gives for each request field in the path template, in its order, every name under which a
    query string could set it too.
    """

    verb: str
    path: str
    path_fields: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Rpc:
    """One rpc: `path` is the gRPC one, `bindings` is empty where REST does not have it."""

    service: str
    name: str
    client_streams: bool
    server_streams: bool
    bindings: tuple[Binding, ...]

    @property
    def path(self) -> str:
        """The path of a gRPC call."""
        return f"/{self.service}/{self.name}"

    @property
    def streams(self) -> bool:
        """Whether either side sends more than one message."""
        return self.client_streams or self.server_streams

    @property
    def only_reads(self) -> bool:
        """Whether a call may be sent twice: one answer to one question, and REST has it as GET first."""
        return not self.streams and bool(self.bindings) and self.bindings[0].verb == "GET"


def load_rpcs(descriptor_path: Path) -> list[Rpc]:
    """Return every rpc of the descriptor set's services, in its order."""
    files = FileDescriptorSet.FromString(descriptor_path.read_bytes()).file
    messages = {f".{name}": message for file in files for name, message in _messages(file)}
    return [
        Rpc(
            service=f"{file.package}.{service.name}",
            name=method.name,
            client_streams=method.client_streaming,
            server_streams=method.server_streaming,
            bindings=tuple(_bindings(method, messages)),
        )
        for file in files
        for service in file.service
        for method in service.method
    ]


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    pending = [(f"{file.package}.{message.name}", message) for message in file.message_type]
    while pending:
        name, message = pending.pop()
        yield name, message
        pending += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def _bindings(method: MethodDescriptorProto, messages: dict[str, DescriptorProto]) -> Iterator[Binding]:
    rule = method.options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb is None:
            continue
        path = _template(binding, verb)
        fields = [name for _, name, _, _ in Formatter().parse(path) if name]
        request = messages[method.input_type]
        yield Binding(
            verb=verb.upper(),
            path=path,
            path_fields={field: _names(field, request, messages) for field in fields},
        )


def _template(rule: HttpRule, verb: str) -> str:
    template: str = getattr(rule, verb)
    return template


def _names(
    field_path: str, request: DescriptorProto, messages: dict[str, DescriptorProto]
) -> tuple[str, ...]:
    """Return every spelling of a field path: each part by its proto name or its JSON name."""
    spellings, message = [""], request
    for part in field_path.split("."):
        field = next(field for field in message.field if field.name == part)
        names = dict.fromkeys((field.name, field.json_name))
        spellings = [f"{head}.{name}".lstrip(".") for head in spellings for name in names]
        message = messages.get(field.type_name, DescriptorProto())
    return tuple(spellings)
