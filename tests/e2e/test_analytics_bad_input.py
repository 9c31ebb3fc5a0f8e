"""Bad input over REST, through the real gateway to the real service: errors of one shape, and clear."""

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from deploy.envoy.contract import Binding
from deploy.local.bootstrap import DatabaseAddresses
from tests.bad_input import INSIDE, REASONS, Rpc, list_rpcs
from tests.e2e.analytics_gateway import analytics_gateway
from tests.e2e.real_gateway import LIMIT_SECONDS

STATUSES = {400, 404, 409, 413, 429, 431}
BINDINGS = [(rpc, binding) for rpc in list_rpcs() for binding in rpc.bindings]
WITH_BODY = [(rpc, binding) for rpc, binding in BINDINGS if binding.verb == "POST"]
WITHOUT_BODY = [(rpc, binding) for rpc, binding in BINDINGS if binding.verb != "POST"]
BODIES = {
    "not JSON": b"nonsense",
    "cut off": b'{"events": [',
    "a list": b"[]",
    "a text": b'"text"',
    "null": b"null",
    "deep": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "deep lists": b'{"events":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "not UTF-8": b'{"events": "\xff\xfe"}',
    "an unknown field": b'{"colour": "red"}',
    "an unknown field within": b'{"events": [{"colour": 1}], "rule": {"colour": 1}}',
    "10 MB": b'{"colour": "' + b"x" * 10_000_000 + b'"}',
}
QUERIES = (
    *(
        "start_date=0001-01-01&end_date=9999-12-31",
        "start_date=2026-02-30",
        "end_date=%00",
        "end_date=%FF%FE",
    ),
    *("start_date=2026-03-02&end_date=2026-03-01", "interval=fortnightly", "metric=luck", "model=luck"),
    *(
        "segmentation=luck",
        "limit=0",
        "limit=-1",
        "limit=2147483647",
        "limit=99999999999",
        "days=0",
        "days=NaN",
    ),
    *("days=-1", "days=1e400", "page_size=-1", "page_size=much", "page_token=garbage!", "page_token=e30"),
    *("currency_code=usd", "minimum_volume=-1", "as_of=0001-01-01T00:00:00Z", "as_of=never", "colour=red"),
    *("campaign_ids=a&campaign_ids=%00", "campaign_id=%ED%A0%80", "format=xlsx", "list=nothing", "%zz=%zz"),
    *("only_open=perhaps", "max_periods=-1"),
)
"""Wrong wherever there is such a field; the last six are asked of every path, and wrong there too."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    content_type: str
    body: bytes


class Client:
    """Speaks HTTP with the gateway over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECONDS)

    def ask(self, verb: str, path: str, body: bytes | None = None) -> Answer:
        self._connection.request(verb, path, body, {"content-type": "application/json"} if body else {})
        response = self._connection.getresponse()
        content_type = response.headers["content-type"] or ""
        is_endless = response.status == http.client.OK and path.partition("?")[0].endswith("/watch")
        content = b"" if is_endless else response.read()
        if is_endless or response.will_close:
            self.close()
        return Answer(status=response.status, content_type=content_type, body=content)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def client(
    module_database: DatabaseAddresses,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[Client]:
    """A client of a gateway behind which the campaigns c1 and c2 are known."""
    folder = tmp_path_factory.mktemp("bad_input")
    with analytics_gateway(module_database, folder, free_port, time_zone="UTC") as gateway:
        client = Client(gateway.port)
        campaigns = {"campaigns": [{"campaign_id": "c1"}, {"campaign_id": "c2"}]}
        assert client.ask("POST", "/api/catalog/campaigns", json.dumps(campaigns).encode()).status == 200
        yield client
        client.close()


def name_of(asked: tuple[Rpc, Binding]) -> str:
    return f"{asked[1].verb} {asked[1].path}"


def path_of(binding: Binding, value: str) -> str:
    """Return the path with `value` in the place of every field."""
    encoded = quote(value.encode("utf-8", "surrogateescape"), safe="")
    return "/".join(encoded if part.startswith("{") else part for part in binding.path.split("/"))


def problem_of(answer: Answer) -> str:
    """Return what is wrong with an answer to bad input; empty where it is served or clearly refused."""
    if answer.status == http.client.OK:
        return ""
    told = f"{answer.status} {answer.body[:300]!r}"
    if answer.status not in STATUSES or answer.content_type != "application/json":
        return told
    error: dict[str, Any] = json.loads(answer.body)
    reasons = {detail["reason"] for detail in error.get("details", []) if "reason" in detail}
    is_shaped = set(error) == {"code", "message", "details"} and len(reasons) == 1 and reasons <= REASONS
    return "" if is_shaped and error["message"] and not INSIDE.search(error["message"]) else told


def problems(client: Client, asked: list[tuple[str, str, bytes | None]]) -> list[str]:
    """Ask everything; return what was not answered as it should be."""
    found = []
    for verb, path, body in asked:
        if problem := problem_of(client.ask(verb, path, body)):
            found.append(f"{verb} {path[:100]} {(body or b'')[:40]!r}: {problem}")
    return found


@pytest.mark.parametrize("asked", WITHOUT_BODY, ids=name_of)
def test_queries(client: Client, asked: tuple[Rpc, Binding]) -> None:
    rpc, binding = asked
    path = path_of(binding, "1" if "merchant" in binding.path else "c1")
    known = set(rpc.request.DESCRIPTOR.fields_by_name)
    chosen = [
        query for query in QUERIES if not known or query.split("=")[0] in known or query in QUERIES[-6:]
    ]
    for query in chosen:
        answer = client.ask(binding.verb, f"{path}?{query}")
        assert answer.status != http.client.OK, query
        assert not problem_of(answer), query


@pytest.mark.parametrize("asked", [a for a in BINDINGS if a[1].path_fields], ids=name_of)
def test_names_in_paths(client: Client, asked: tuple[Rpc, Binding]) -> None:
    _, binding = asked
    body = b"{}" if binding.verb == "POST" else None
    names = (
        "nobody",
        "\0",
        "a\0b",
        "\udcff\udcfe",
        "x" * 129,
        "x" * 20_000,
        "-1",
        "2147483648",
        "9999-12-31",
        "..",
    )
    assert not problems(client, [(binding.verb, path_of(binding, name), body) for name in names])


@pytest.mark.parametrize("asked", WITH_BODY, ids=name_of)
def test_bodies(client: Client, asked: tuple[Rpc, Binding]) -> None:
    _, binding = asked
    path = path_of(binding, "c1")
    for how, body in BODIES.items():
        answer = client.ask("POST", path, body)
        assert not problem_of(answer), f"{how}: {problem_of(answer)}"


@pytest.mark.parametrize(
    ("path", "body", "field", "reason"),
    [
        ("/api/analytics/campaign/c1/metrics?start_date=2026-02-30", None, "start_date", "DATE_INVALID"),
        (
            "/api/analytics/campaign/c1/metrics?start_date=0001-01-01",
            None,
            "start_date",
            "VALUE_OUT_OF_RANGE",
        ),
        ("/api/analytics/campaign/c1/trends?interval=yearly", None, "interval", "VALUE_UNKNOWN"),
        ("/api/analytics/top-campaigns?limit=2147483647", None, "limit", "VALUE_OUT_OF_RANGE"),
        ("/api/analytics/attribution?model=luck", None, "model", "VALUE_UNKNOWN"),
        ("/api/analytics/cohorts?page_token=e30", None, "page_token", "PAGE_TOKEN_INVALID"),
        ("/api/analytics/export/portfolio?format=xlsx", None, "format", "VALUE_UNKNOWN"),
        ("/api/analytics/events", b"{}", "events", "FIELD_REQUIRED"),
        (
            "/api/catalog/campaigns",
            b'{"campaigns": [{"campaign_id": "c9", "offer_amount": "NaN"}]}',
            "campaigns[0].offer_amount",
            "MONEY_NOT_FINITE",
        ),
        (
            "/api/catalog/campaigns",
            b'{"campaigns": [{"campaign_id": "' + b"x" * 10_000_000 + b'"}]}',
            "campaigns[0].campaign_id",
            "TEXT_INVALID",
        ),
        (
            "/api/catalog/campaigns",
            b'{"campaigns": [{"campaign_id": "c9", "channel": 999}]}',
            "campaigns[0].channel",
            "VALUE_UNKNOWN",
        ),
    ],
)
def test_the_field_at_fault_is_named(
    client: Client, path: str, body: bytes | None, field: str, reason: str
) -> None:
    answer = client.ask("POST" if body else "GET", path, body)
    assert answer.status == http.client.BAD_REQUEST
    details = json.loads(answer.body)["details"]
    violations = [violation for detail in details for violation in detail.get("field_violations", [])]
    assert [(violation["field"], violation["reason"]) for violation in violations] == [(field, reason)]


def test_a_body_over_the_limit_is_refused_and_the_next_is_served(client: Client) -> None:
    body = b'{"events": [{"event_id": "' + b"x" * (17 << 20) + b'"}]}'
    answer = client.ask("POST", "/api/analytics/events", body)
    assert answer.status == http.client.REQUEST_ENTITY_TOO_LARGE
    assert not problem_of(answer)
    event = {
        "event_id": "e",
        "event_type": 1,
        "campaign_id": "c1",
        "user_id": "u",
        "event_time": "2026-03-01T00:00:00Z",
    }
    sent = client.ask("POST", "/api/analytics/events", json.dumps({"events": [event]}).encode())
    assert json.loads(sent.body)["accepted_count"] == "1"
