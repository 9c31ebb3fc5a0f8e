"""The OpenAPI document is well formed, complete, and says what the gateway does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from deploy.envoy.contract import load_rpcs
from tools import generate
from tools.openapi import build_document

DOCUMENT: dict[str, Any] = json.loads((generate.GENERATED / generate.OPENAPI).read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
RPCS = load_rpcs(generate.GENERATED / generate.DESCRIPTORS)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for verb, operation in item.items():
            yield path, verb, operation


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield str(inner)
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(reference: str) -> object:
    at: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        at = at[part]
    return at


def test_every_rest_form_of_every_rpc_is_there() -> None:
    documented = {(verb.upper(), path) for path, verb, _ in operations()}

    assert documented == {(binding.verb, binding.path) for rpc in RPCS for binding in rpc.bindings}


def test_every_reference_resolves() -> None:
    assert all(resolve(reference) for reference in references(DOCUMENT))


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(names) == len(set(names))
    assert "AnalyticsService_GetCampaignMetrics" in names


def test_path_parameters_are_those_of_the_path() -> None:
    for path, _, operation in operations():
        declared = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
        assert sorted(declared) == sorted(re.findall(r"\{(\w+)\}", path))
        assert all(
            parameter["required"] for parameter in operation["parameters"] if parameter["in"] == "path"
        )


def test_a_body_is_where_the_verb_takes_one() -> None:
    for _, verb, operation in operations():
        assert ("requestBody" in operation) == (verb == "post")


def test_everything_is_described() -> None:
    for path, verb, operation in operations():
        assert operation["description"], (path, verb)
        assert all(parameter["description"] for parameter in operation["parameters"]), (path, verb)
    for name, schema in SCHEMAS.items():
        assert schema["description"], name
        for field, inner in schema.get("properties", {}).items():
            assert name == "Error" or inner["description"], (name, field)


@pytest.mark.parametrize(
    ("message", "field", "expected"),
    [
        (
            "campaigns.analytics.v1.GetCampaignMetricsResponse",
            "impressions",
            {"type": "string", "format": "int64"},
        ),
        ("campaigns.analytics.v1.GetCampaignMetricsResponse", "roas", {"type": "number", "format": "double"}),
        ("campaigns.analytics.v1.Event", "event_time", {"type": "string", "format": "date-time"}),
        ("campaigns.analytics.v1.Event", "merchant_id", {"type": "integer", "format": "int32"}),
        (
            "campaigns.analytics.v1.Event",
            "event_type",
            {"$ref": "#/components/schemas/campaigns.analytics.v1.EventType"},
        ),
        ("campaigns.analytics.v1.User", "segments", {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_fields_have_the_types_of_proto_json(message: str, field: str, expected: dict[str, Any]) -> None:
    assert SCHEMAS[message]["properties"][field].items() >= expected.items()


def test_enums_are_their_names() -> None:
    channel = SCHEMAS["campaigns.type.v1.Channel"]

    assert channel["enum"][:2] == ["CHANNEL_UNSPECIFIED", "CHANNEL_PUSH"]
    assert "- `CHANNEL_PUSH`: A push notification." in channel["description"]


def test_errors_have_the_one_shape() -> None:
    assert SCHEMAS["Error"]["required"] == ["code", "message", "details"]
    assert all(
        operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}
        for _, _, operation in operations()
    )


def test_streams_say_that_they_are_lines() -> None:
    watch = DOCUMENT["paths"]["/api/analytics/portfolio/watch"]["get"]

    assert "one JSON object a line" in watch["responses"]["200"]["description"]


def test_the_document_follows_the_descriptors() -> None:
    descriptors = FileDescriptorSet.FromString((generate.GENERATED / generate.DESCRIPTORS).read_bytes())
    info = DOCUMENT["info"]

    assert build_document(descriptors, title=info["title"], version=info["version"]) == DOCUMENT
