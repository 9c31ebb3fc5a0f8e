# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""Exports against the answers they are exports of, question by question and list by list."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.analytics.v1 import catalog_service_pb2
from gen.campaigns.analytics.v1.export_service_pb2 import ExportRequest
from services.analytics.convert.export import question_from_proto
from services.analytics.convert.flatten import ANSWER, list_tables
from services.analytics.server import open_database
from services.common.errors import DomainError
from tests.analytics_factories import (
    Stubs,
    add_catalog,
    campaign,
    event,
    ingest,
    refusal,
    running_server,
    settings_for,
    timestamp,
)
from tests.audience_factories import AudienceJobs

QUESTIONS: dict[str, Any] = {
    "metrics": {"campaign_id": "c1"},
    "segments": {"campaign_id": "c1"},
    "channels": {"campaign_id": "c1"},
    "trend": {"campaign_id": "c1", "interval": "daily"},
    "portfolio": {"days": 40},
    "top_campaigns": {"metric": "conversion_rate", "minimum_volume": 1, "days": 40},
    "cohort": {"cohort_date": "2026-03-01"},
    "cohorts": {"start_date": "2026-03-01", "end_date": "2026-03-31"},
    "rfm_segments": {},
    "comparison": {"campaign_ids": ["c1", "c2"]},
    "merchant": {"merchant_id": 1},
    "campaign_forecast": {"campaign_id": "c1"},
    "portfolio_forecast": {},
    "campaign_attribution": {"campaign_id": "c1"},
    "portfolio_attribution": {"model": "linear"},
    "costs": {"campaign_id": "c1"},
    "campaigns": {},
    "merchants": {},
    "users": {},
    "alert_rules": {},
    "alerts": {},
    "jobs": {},
}
STUBS = {
    "AlertService": "alerts",
    "AnalyticsService": "analytics",
    "CatalogService": "catalog",
    "OperationsService": "operations",
}
ALWAYS_ANSWERED = {
    "metrics",
    "trend",
    "portfolio",
    "top_campaigns",
    "campaigns",
    "merchants",
    "users",
    "jobs",
}


def asking(**fields: Any) -> ExportRequest:
    return ExportRequest(**fields)


def descriptor_of(message: Message) -> Any:
    return message.DESCRIPTOR


async def export(stubs: Stubs, **fields: Any) -> bytes:
    parts = [part.data async for part in stubs.export.Export(asking(**fields))]
    assert all(parts)
    return b"".join(parts)


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def read_parquet(data: bytes) -> list[dict[str, Any]]:
    # One thread and Arrow's own buffer: reading a Python file by several may outlive the interpreter.
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data), use_threads=False).to_pylist()
    return rows


async def send_world(stubs: Stubs) -> None:
    await add_catalog(
        stubs,
        campaign(
            "c1",
            campaign_name="=1+1",
            offer_amount=5.5,
            merchant_id=1,
            start_time=timestamp("2026-03-01T00:00:00+00:00"),
        ),
        campaign("c2", campaign_name='says "hi", twice\nand more', channel=2, merchant_id=2),
        campaign("c3", campaign_name="Crème brûlée 🍮"),
    )
    await stubs.catalog.UpsertUsers(
        catalog_service_pb2.UpsertUsersRequest(
            users=[
                catalog_service_pb2.User(user_id=f"u{n}", segments=["new, shiny", "vip"][: n % 3])
                for n in range(5)
            ]
        )
    )
    events = []
    for number in range(40):
        about = {"user_id": f"u{number % 7}", "campaign_id": f"c{1 + number % 2}"}
        about["event_time"] = f"2026-03-{1 + number % 25:02}T10:00:00+00:00"
        events.append(event(f"d{number}", cost=0.35, **about))
        events.append(event(f"v{number}", "VIEWED", **about))
        if number % 3 == 0:
            events.append(event(f"b{number}", "CONVERTED", revenue=12.5 + number, **about))
    assert (await ingest(stubs, *events)).accepted_count == len(events)


def flat(message: Message, prefix: str = "") -> dict[str, Any]:
    """What protobuf's own JSON form says of a message, without its lists, in flat names."""
    said = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return dict(flat_items(said, message, prefix))


def flat_items(said: dict[str, Any], message: Message, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in said.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if name == "next_page_token" or (isinstance(value, list) and field.message_type is not None):
            continue
        if isinstance(value, dict):
            yield from flat_items(value, getattr(message, name), f"{prefix}{name}_")
        elif isinstance(value, str) and field.cpp_type == field.CPPTYPE_INT64:
            yield f"{prefix}{name}", int(value)
        else:
            yield f"{prefix}{name}", value


def entries(answer: Message, path: tuple[str, ...]) -> Iterator[Message]:
    if not path:
        yield answer
        return
    inner: Any = getattr(answer, path[0])
    repeated = descriptor_of(answer).fields_by_name[path[0]].is_repeated
    for entry in inner if repeated else [inner] if answer.HasField(path[0]) else []:
        yield from entries(entry, path[1:])


def plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def from_csv(text: str, like: Any) -> Any:
    """Read a cell back as what the answer has there."""
    if isinstance(like, bool):
        return {"true": True, "false": False}[text]
    if isinstance(like, int | float):
        return type(like)(text)
    if isinstance(like, list):
        return json.loads(text)
    if isinstance(like, str) and like.endswith("Z") and "T" in like:
        return text.replace("+00:00", "Z")
    return text.removeprefix("'") if like[:1] in ("=", "+", "-", "@") else text


def expected_rows(answer: Message, path: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each entry's fields, and before them those of the answer, renamed where an entry has the name."""
    around = {name: value for name, value in flat(answer).items() if is_surrounding(answer, name)}
    rows = []
    for entry in entries(answer, path):
        own = flat(entry)
        if path:
            taken = {column.name for column in list_tables(descriptor_of(entry))[ANSWER].columns}
            own |= {f"answer_{name}" if name in taken else name: value for name, value in around.items()}
        rows.append(own)
    return rows


def is_surrounding(answer: Message, name: str) -> bool:
    if name.startswith("date_range_"):
        return True
    field = descriptor_of(answer).fields_by_name.get(name)
    simple = field is not None and (field.message_type is None or field.message_type.name == "Timestamp")
    return bool(simple and not field.is_repeated)


async def ask(stubs: Stubs, name: str) -> tuple[Message, dict[str, tuple[str, ...]], str]:
    """Ask the question's own method; return its answer, its lists, and which of them is the main one."""
    question = question_from_proto(asking(**{name: QUESTIONS[name]}))
    stub = getattr(stubs, STUBS[question.service])
    answer: Message = await getattr(stub, question.method)(question.request)
    tables = {name: tuple(table.path) for name, table in list_tables(descriptor_of(answer)).items()}
    return answer, tables, (question.table.path or [ANSWER])[-1]


async def test_a_file_says_what_the_answer_says(database: DatabaseAddresses) -> None:
    assert QUESTIONS.keys() == {f.name for f in ExportRequest.DESCRIPTOR.oneofs_by_name["question"].fields}
    answered, refused = set(), {}
    async with running_server(database.analytics) as stubs:
        await send_world(stubs)
        for name, fields in QUESTIONS.items():
            try:
                answer, tables, main = await ask(stubs, name)
            except grpc.aio.AioRpcError as error:
                refused[name] = error.code().name
                continue
            answered.add(name)
            for chosen, path in tables.items():
                about = {name: fields, "list": "" if chosen == main else chosen}
                expected = expected_rows(answer, path)
                for row, want in zip(
                    read_parquet(await export(stubs, format="parquet", **about)), expected, strict=True
                ):
                    got = {column: plain(value) for column, value in row.items() if value is not None}
                    assert got == want, (name, chosen)
                for line, want in zip(read_csv(await export(stubs, **about)), expected, strict=True):
                    assert {column for column, text in line.items() if text} <= want.keys()
                    got = {column: from_csv(line[column], value) for column, value in want.items()}
                    assert got == want, (name, chosen)
        for name, code in refused.items():
            failed = await refusal(anext(aiter(stubs.export.Export(asking(**{name: QUESTIONS[name]})))))
            assert failed.code == code, name
    assert answered >= ALWAYS_ANSWERED


async def test_all_pages_are_sent_in_pieces(database: DatabaseAddresses) -> None:
    users = [catalog_service_pb2.User(user_id=f"u{number:05}") for number in range(2345)]
    async with running_server(database.analytics) as stubs:
        await stubs.catalog.UpsertUsers(catalog_service_pb2.UpsertUsersRequest(users=users))
        for file_format, read in (("csv", read_csv), ("parquet", read_parquet)):
            request = asking(format=file_format, users={"page_size": 3})
            parts = [part async for part in stubs.export.Export(request)]
            assert len(parts) > 5
            rows = read(b"".join(part.data for part in parts))
            assert [row["user_id"] for row in rows] == [user.user_id for user in users]


async def test_all_pages_of_a_list_are_sent_whichever_of_its_lists_is_asked_for(
    database: DatabaseAddresses,
) -> None:
    """Users of sixty days make sixty cohorts, of which a page has fifty."""
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(60)]
    async with (
        running_server(database.analytics) as stubs,
        open_database(settings_for(database.analytics)) as own,
    ):
        await add_catalog(stubs)
        await ingest(
            stubs,
            *(event(f"d{day}", user_id=f"u{day}", event_time=f"{day}T10:00:00+00:00") for day in days),
        )
        await AudienceJobs.of(own).run()
        about = {"start_date": "2026-01-01", "end_date": "2026-03-31", "interval": "monthly"}
        rows = read_csv(await export(stubs, cohorts=about, list="cohorts"))
        periods = read_csv(await export(stubs, cohorts=about))
    assert sorted(row["cohort_date"] for row in rows) == [day.isoformat() for day in days]
    assert {row["cohort_date"] for row in periods} == {day.isoformat() for day in days}


async def test_a_question_without_a_field_is_asked_by_name(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await send_world(stubs)
        questions: dict[str, Any] = {"top-campaigns": {"top_campaigns": {}}, "users": {"users": {}}}
        for name, question in questions.items():
            expected = await export(stubs, **question)
            assert await export(stubs, question_name=name) == expected
            assert await export(stubs, question_name=name, **question) == expected


async def test_an_empty_list_is_a_file_of_column_names(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        assert await export(stubs, merchants={}) == (
            b"merchant_id,merchant_name,category,latitude,longitude,currency_code\r\n"
        )
        table = pq.read_table(pa.BufferReader(await export(stubs, merchants={}, format="parquet")))
        assert table.num_rows == 0
        assert table.schema.field("merchant_id").type == pa.int64()
        assert table.schema.field("latitude").type == pa.float64()


async def test_a_formula_stays_text(database: DatabaseAddresses) -> None:
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "fine = 1"]
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs, *(campaign(f"c{n}", campaign_name=name) for n, name in enumerate(names)))
        rows = read_csv(await export(stubs, campaigns={}))
        assert [row["campaign_name"] for row in rows] == [*(f"'{name}" for name in names[:-1]), "fine = 1"]
        rows = read_parquet(await export(stubs, campaigns={}, format="parquet"))
        assert [row["campaign_name"] for row in rows] == names


async def test_the_file_has_a_type_and_a_name(database: DatabaseAddresses) -> None:
    async with running_server(database.analytics) as stubs:
        await add_catalog(stubs, campaign('c/1"'))
        for file_format, content_type, name in (
            ("csv", "text/csv; charset=utf-8; header=present", "trend-c_1_-points.csv"),
            ("parquet", "application/vnd.apache.parquet", "trend-c_1_-points.parquet"),
        ):
            request = asking(format=file_format, trend={"campaign_id": 'c/1"'})
            call = stubs.export.Export(request)
            parts: list[HttpBody] = [part async for part in call]
            assert {part.content_type for part in parts} == {content_type}
            headers = dict(await call.initial_metadata())
            assert headers["content-disposition"] == f'attachment; filename="{name}"'


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({}, "question", "FIELD_REQUIRED"),
        ({"format": "xlsx", "users": {}}, "format", "VALUE_UNKNOWN"),
        ({"question_name": "luck"}, "question_name", "VALUE_UNKNOWN"),
        ({"question_name": "jobs", "users": {}}, "question_name", "FIELDS_CONFLICT"),
        ({"list": "luck", "users": {}}, "list", "VALUE_UNKNOWN"),
        ({"users": {"page_token": "x"}}, "users.page_token", "FIELDS_CONFLICT"),
        ({"trend": {"campaign_id": "c1", "interval": "yearly"}}, "interval", "VALUE_UNKNOWN"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_field(
    database: DatabaseAddresses, fields: dict[str, Any], field: str, reason: str
) -> None:
    async with running_server(database.analytics) as stubs:
        failed = await refusal(anext(aiter(stubs.export.Export(asking(**fields)))))
        assert (failed.code, failed.fields) == ("INVALID_ARGUMENT", {field: reason})


def test_no_two_lists_of_an_answer_have_one_name() -> None:
    for field in ExportRequest.DESCRIPTOR.oneofs_by_name["question"].fields:
        try:
            question = question_from_proto(asking(**{field.name: {}}))
        except DomainError as error:
            raise AssertionError(field.name) from error
        columns = [column.name for column in question.table.columns]
        assert len(columns) == len(set(columns))
