"""Every reason that a service or the gateway gives is in the contract."""

import ast
from collections.abc import Iterator
from pathlib import Path

from deploy.envoy.replies import ANY_OTHER, REPLIES
from gen.campaigns.type.v1 import error_reason_pb2

SERVICES = Path(__file__).resolve().parents[3] / "services"
KNOWN = {
    name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
}
AT_START_ONLY = {"DBMATE_MISSING", "MIGRATION_FAILED", "PORT_TAKEN", "TIME_ZONE_CONFLICT"}
"""Reasons that end a process before it serves: no caller ever sees them."""


def reasons_in(path: Path) -> Iterator[str]:
    """Return the literal reasons of a module: `reason=...`, and the third argument of `invalid_field`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            if isinstance(node.func, ast.Name) and node.func.id == "invalid_field":
                given += node.args[2:3]
            for value in given:
                text = value.value if isinstance(value, ast.Constant) else None
                if isinstance(text, str) and text.isupper():  # the others are words for a person
                    yield text


def test_the_contract_names_the_reasons_of_services() -> None:
    unknown = {
        (path.relative_to(SERVICES).as_posix(), reason)
        for package in ("common", "analytics", "abtest", "optimizer")
        for path in (SERVICES / package).rglob("*.py")
        for reason in reasons_in(path)
        if reason not in KNOWN | AT_START_ONLY
    }

    assert unknown == set()


def test_the_contract_names_the_reasons_of_the_gateway() -> None:
    assert {reply.reason for reply in (*REPLIES, ANY_OTHER)} <= KNOWN
