"""The reasons for which nothing is recommended, in code and in the contract."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gen.campaigns.type.v1.error_reason_pb2 import ErrorReason
from services.optimizer.domain.recommendations import recommendations
from services.optimizer.operations import recommendation_sources

ROOT = Path(__file__).parents[3]
NAMED = {**vars(recommendations), **vars(recommendation_sources)}


def reasons_in_code() -> Iterator[str]:
    """Every reason that a `Withheld` is made with, but those passed on from errors."""
    for path in sorted((ROOT / "services/optimizer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "Withheld"):
                continue
            (reason,) = (each.value for each in node.keywords if each.arg == "reason")
            match reason:
                case ast.Constant(value=str(value)):
                    yield value
                case ast.Name(id=name):
                    yield NAMED[name]


def reasons_in_contract() -> set[str]:
    """What the comment of WithheldRecommendation.reason names."""
    text = (ROOT / "protos/campaigns/optimizer/v1/recommendations.proto").read_text()
    message = text[text.index("message WithheldRecommendation") :]
    return set(re.findall(r"`([A-Z_]+)`", message[: message.index("string reason = 2")]))


def test_the_contract_lists_every_reason_of_the_code_and_no_other() -> None:
    made, listed = set(reasons_in_code()), reasons_in_contract()
    assert made >= {"ALREADY_APPLIED", "DISMISSED", "TOO_SLOW", *recommendations.VERDICTS}
    assert made <= listed
    errors = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert listed <= made | errors
