# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Requests that no rpc takes: how one differs from a fit one, and why it is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from gen.campaigns.analytics.v1 import (
    alerts_pb2,
)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A request that is refused: what differs from the fit one, the code, the reason, and the field at fault.

    Without a field the error names none.
    """

    changes: Mapping[str, Any]
    code: str = "INVALID_ARGUMENT"
    reason: str
    field: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{name}={str(value)[:30]!r}" for name, value in self.changes.items()) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Row:
    """An rpc's fit request, and refused ones.

    `missing` is the reason why even the fit one has no answer where no job has run yet; empty where it has.
    """

    fit: Message
    missing: str = ""
    refused: Sequence[Refused] = ()

    def request(self, refused: Refused) -> Message:
        changed = type(self.fit)()
        changed.CopyFrom(self.fit)
        for name in refused.changes:
            changed.ClearField(name)
        given = {name: value for name, value in refused.changes.items() if value is not None}
        changed.MergeFrom(type(self.fit)(**given))
        return changed


def bad(field: str, reason: str, *, code: str = "INVALID_ARGUMENT", **changes: Any) -> Refused:
    """Return a request refused by `field`."""
    return Refused(changes=changes, code=code, reason=reason, field=field)


def unknown(reason: str, **changes: Any) -> Refused:
    """Return a request for what does not exist."""
    return Refused(changes=changes, code="NOT_FOUND", reason=reason)


def bad_texts(field: str, **others: Any) -> list[Refused]:
    """Return texts that no name can be: with a NUL, too long, far too long."""
    return [
        bad(field, "TEXT_INVALID", **{field: text, **others})
        for text in ("a\0b", "x" * 129, "x" * 10_000_000)
    ]


def bad_campaigns(*, required: bool = True, known: bool = True) -> list[Refused]:
    cases = bad_texts("campaign_id")
    if required:
        cases.append(bad("campaign_id", "FIELD_REQUIRED", campaign_id=""))
    if known:
        cases += [unknown("CAMPAIGN_UNKNOWN", campaign_id=name) for name in ("nobody", " c1", "C1", "' or 1")]
    return cases


def bad_days(start: str = "start_date", end: str = "end_date") -> list[Refused]:
    garbage = ("2026-02-30", "2026-3-1", "yesterday", "20260301", "2026-03-01T00:00:00Z", "9" * 1000, "\0")
    return [
        *(bad(start, "DATE_INVALID", **{start: text, end: "2026-03-31"}) for text in garbage),
        *(bad(end, "DATE_INVALID", **{start: "2026-03-01", end: text}) for text in garbage),
        bad(end, "RANGE_REVERSED", **{start: "2026-03-02", end: "2026-03-01"}),
        bad(start, "VALUE_OUT_OF_RANGE", **{start: "0001-01-01", end: "2026-03-31"}),
        bad(end, "VALUE_OUT_OF_RANGE", **{start: "2026-03-01", end: "9999-12-31"}),
        bad(end, "VALUE_OUT_OF_RANGE", **{start: "1970-01-01", end: "2199-12-31"}),
    ]


def bad_pages() -> list[Refused]:
    tokens = ("garbage!", "e30", "W10", "bnVsbA", "eyJhIjoxfQ", "\u20ac", "\0", "=" * 100_000)
    return [
        *(bad("page_token", "PAGE_TOKEN_INVALID", page_token=token) for token in tokens),
        *(bad("page_size", "VALUE_OUT_OF_RANGE", page_size=size) for size in (-1, -(2**31))),
    ]


def bad_numbers(field: str, *values: float) -> list[Refused]:
    reason = "VALUE_OUT_OF_RANGE"
    return [Refused(changes={field: value}, reason=reason, field=field) for value in values]


def bad_choices(field: str, reason: str = "VALUE_UNKNOWN") -> list[Refused]:
    """Return texts that are no known choice."""
    return [bad(field, reason, **{field: text}) for text in ("nothing", "DAILY", " ", "\0", "x" * 100_000)]


def bad_currencies() -> list[Refused]:
    return bad_choices("currency_code", "TEXT_INVALID")


def bad_list(name: str, make: Any, entry: Mapping[str, Any]) -> list[Refused]:
    """Return a list without entries, and one with too many."""
    return [
        Refused(changes={name: []}, reason="FIELD_REQUIRED", field=name),
        Refused(
            changes={name: [make(**entry)] * 10_001}, code="RESOURCE_EXHAUSTED", reason="BATCH_TOO_LARGE"
        ),
    ]


def bad_rule(field: str, reason: str, *, code: str = "INVALID_ARGUMENT", **changes: Any) -> Refused:
    rule: dict[str, Any] = {"metric": "roas", "kind": 2, "threshold": 1.5, "campaign_id": "c1", **changes}
    given = {name: value for name, value in rule.items() if value is not None}
    return Refused(changes={"rule": alerts_pb2.AlertRule(**given)}, code=code, reason=reason, field=field)
