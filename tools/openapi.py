"""Make an OpenAPI 3.1 document of the REST side of the contract, from the descriptor set with its comments.

What the gateway does is what the document says: proto field names, int64 as a string, undefined fields left
out, and every error as `{code, message, details}`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

Json: TypeAlias = dict[str, Any]

_ENUM = FieldDescriptorProto.TYPE_ENUM
_MESSAGE = FieldDescriptorProto.TYPE_MESSAGE
_SCALARS: dict[int, Json] = {
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    FieldDescriptorProto.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptorProto.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptorProto.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptorProto.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptorProto.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Json] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
}
_ERROR: Json = {
    "type": "object",
    "description": "Why a request failed; the same from every service and from the gateway.",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "format": "int32", "description": "The canonical gRPC code, 1 to 16."},
        "message": {"type": "string", "description": "What is wrong, for a person."},
        "details": {
            "type": "array",
            "description": (
                "google.rpc.ErrorInfo with `reason` and `domain`, and where fields are at fault "
                "google.rpc.BadRequest with `field_violations` of `field`, `description` and `reason`."
            ),
            "items": {
                "type": "object",
                "required": ["@type"],
                "properties": {"@type": {"type": "string"}},
                "additionalProperties": True,
            },
        },
    },
}
_PATH_FIELD = re.compile(r"\{([^}=]+)[^}]*\}")


def build_document(descriptors: FileDescriptorSet, *, title: str, version: str) -> Json:
    """Return the document; `descriptors` must hold the files' source info for the descriptions."""
    contract = _Contract.of(descriptors)
    paths: Json = {}
    tags: list[Json] = []
    for service in contract.services:
        operations = list(_operations(contract, service))
        if operations:
            tags.append({"name": service.proto.name, "description": service.comment})
        for path, verb, operation in operations:
            paths.setdefault(path, {})[verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": {**contract.referenced_schemas(), "Error": _ERROR},
            "responses": {"Error": {"description": "The request failed.", "content": _content("Error")}},
        },
    }


@dataclass(frozen=True, kw_only=True)
class _Message:
    proto: DescriptorProto
    comment: str
    field_comments: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Enum:
    proto: EnumDescriptorProto
    comment: str
    value_comments: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Service:
    proto: ServiceDescriptorProto
    comment: str
    method_comments: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Contract:
    """Everything by its full name (with the leading dot), and which of it the document has named so far."""

    messages: dict[str, _Message] = field(default_factory=dict)
    enums: dict[str, _Enum] = field(default_factory=dict)
    services: list[_Service] = field(default_factory=list)
    referenced: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, descriptors: FileDescriptorSet) -> "_Contract":
        contract = cls()
        for file in descriptors.file:
            contract._add_file(file)
        return contract

    def _add_file(self, file: FileDescriptorProto) -> None:
        comments = {tuple(at.path): _comment(at.leading_comments) for at in file.source_code_info.location}
        for index, message in enumerate(file.message_type):
            self._add_message(f".{file.package}.{message.name}", message, (4, index), comments)
        for index, enum in enumerate(file.enum_type):
            self._add_enum(f".{file.package}.{enum.name}", enum, (5, index), comments)
        for index, service in enumerate(file.service):
            self.services.append(
                _Service(
                    proto=service,
                    comment=comments.get((6, index), ""),
                    method_comments=[
                        comments.get((6, index, 2, at), "") for at in range(len(service.method))
                    ],
                )
            )

    def _add_message(
        self, name: str, message: DescriptorProto, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
    ) -> None:
        self.messages[name] = _Message(
            proto=message,
            comment=comments.get(path, ""),
            field_comments=[comments.get((*path, 2, at), "") for at in range(len(message.field))],
        )
        for index, nested in enumerate(message.nested_type):
            self._add_message(f"{name}.{nested.name}", nested, (*path, 3, index), comments)
        for index, enum in enumerate(message.enum_type):
            self._add_enum(f"{name}.{enum.name}", enum, (*path, 4, index), comments)

    def _add_enum(
        self,
        name: str,
        enum: EnumDescriptorProto,
        path: tuple[int, ...],
        comments: dict[tuple[int, ...], str],
    ) -> None:
        self.enums[name] = _Enum(
            proto=enum,
            comment=comments.get(path, ""),
            value_comments=[comments.get((*path, 2, at), "") for at in range(len(enum.value))],
        )

    def reference(self, name: str) -> Json:
        """Return a reference to a message or enum, and see to it that the document has its schema."""
        self.referenced[name] = None
        return {"$ref": f"#/components/schemas/{name.removeprefix('.')}"}

    def referenced_schemas(self) -> Json:
        """Return the schemas of all that is referenced, and of what these reference in turn, by name."""
        schemas: Json = {}
        while pending := [name for name in self.referenced if name.removeprefix(".") not in schemas]:
            for name in pending:
                schemas[name.removeprefix(".")] = self._schema(name)
        return dict(sorted(schemas.items()))

    def _schema(self, name: str) -> Json:
        if name in self.enums:
            return _enum_schema(self.enums[name])
        message = self.messages[name]
        properties = {
            proto.name: _described(self.field_schema(proto), comment)
            for proto, comment in zip(message.proto.field, message.field_comments, strict=True)
        }
        return {"type": "object", "description": message.comment, "properties": properties}

    def field_schema(self, proto: FieldDescriptorProto) -> Json:
        """Return the schema of a field's value."""
        entry = self.messages.get(proto.type_name)
        if entry is not None and entry.proto.options.map_entry:
            return {"type": "object", "additionalProperties": self.field_schema(entry.proto.field[1])}
        if proto.type_name in _WELL_KNOWN:
            single = _WELL_KNOWN[proto.type_name]
        elif proto.type in {_ENUM, _MESSAGE}:
            single = self.reference(proto.type_name)
        else:
            single = _SCALARS[proto.type]
        if proto.label == FieldDescriptorProto.LABEL_REPEATED:
            return {"type": "array", "items": single}
        return dict(single)


def _operations(contract: _Contract, service: _Service) -> Iterator[tuple[str, str, Json]]:
    for method, comment in zip(service.proto.method, service.method_comments, strict=True):
        rule = method.options.Extensions[annotations_pb2.http]
        bindings = [binding for binding in (rule, *rule.additional_bindings) if binding.WhichOneof("pattern")]
        for index, binding in enumerate(bindings):
            operation_id = f"{service.proto.name}_{method.name}" + (f"_{index + 1}" if index else "")
            verb, path = _verb_and_path(binding)
            yield (
                _PATH_FIELD.sub(r"{\1}", path),
                verb,
                {
                    "operationId": operation_id,
                    "tags": [service.proto.name],
                    "description": comment,
                    **_request(contract, method, binding),
                    "responses": {"200": _answer(contract, method), "default": _ERROR_REFERENCE},
                },
            )


_ERROR_REFERENCE = {"$ref": "#/components/responses/Error"}


def _request(contract: _Contract, method: MethodDescriptorProto, binding: HttpRule) -> Json:
    message = contract.messages[method.input_type]
    in_path = set(_PATH_FIELD.findall(_verb_and_path(binding)[1]))
    described = list(zip(message.proto.field, message.field_comments, strict=True))
    request: Json = {
        "parameters": [
            {
                "name": proto.name,
                "in": "path" if proto.name in in_path else "query",
                **({"required": True} if proto.name in in_path else {}),
                "description": comment,
                "schema": contract.field_schema(proto),
            }
            for proto, comment in described
            if proto.name in in_path or not binding.body
        ]
    }
    if binding.body:
        schema = contract.reference(method.input_type)
        request["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return request


def _answer(contract: _Contract, method: MethodDescriptorProto) -> Json:
    schema = contract.reference(method.output_type)
    description = contract.messages[method.output_type].comment
    if method.server_streaming:
        description += " Sent again and again: one JSON object a line, until either side ends the call."
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _verb_and_path(binding: HttpRule) -> tuple[str, str]:
    verb = binding.WhichOneof("pattern")
    return str(verb), str(getattr(binding, str(verb)))


def _enum_schema(enum: _Enum) -> Json:
    values = zip(enum.proto.value, enum.value_comments, strict=True)
    lines = [enum.comment, "", *(f"- `{value.name}`: {comment}" for value, comment in values)]
    return {
        "type": "string",
        "description": "\n".join(lines),
        "enum": [value.name for value in enum.proto.value],
    }


def _described(schema: Json, comment: str) -> Json:
    return {"description": comment, **schema}


def _content(schema_name: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema_name}"}}}


def _comment(text: str) -> str:
    """Return a comment as paragraphs: its lines were broken for the source, not for the reader."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)
