"""Questions whose answers are sent as files: who answers, which list is sent, what the file is called.

A question is known by the type of its message: the method that takes it answers it. So a question that joins
`ExportRequest.question` is answered without a word here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from gen.campaigns.analytics.v1 import (
    alert_service_pb2,
    analytics_service_pb2,
    catalog_service_pb2,
    export_service_pb2,
    operations_service_pb2,
)
from services.analytics.convert.flatten import Table, list_tables
from services.analytics.convert.tables import FORMATS, TableWriter
from services.common.errors import invalid_field

ROWS_PER_CHUNK = 500
ENTRIES_PER_PAGE = 1000
"""What is asked for at once of a list with pages."""
DEFAULT_FORMAT = "csv"
_SERVICES = (
    analytics_service_pb2.DESCRIPTOR,
    catalog_service_pb2.DESCRIPTOR,
    operations_service_pb2.DESCRIPTOR,
    alert_service_pb2.DESCRIPTOR,
)
_MAIN_LISTS = {"merchant": "campaigns", "cohorts": "periods"}
"""Where the main list is not the first of the answer."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NAMING_FIELDS = ("campaign_id", "merchant_id", "cohort_date")
_MAXIMUM_NAME = 100


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question: its message, the service and method that answer it, and the table that is asked for.

    `has_pages` says whether the table goes on over pages.
    """

    name: str
    request: Message
    service: str
    method: str
    table: Table
    has_pages: bool
    file_format: str

    @property
    def file_name(self) -> str:
        """What the file may be called: letters that no file system and no header stumbles over."""
        about = [str(getattr(self.request, field, "")) for field in _NAMING_FIELDS]
        words = [self.name, *(word for word in about if word), *self.table.path[-1:]]
        return f"{_UNSAFE.sub('_', '-'.join(words))[:_MAXIMUM_NAME]}.{self.file_format}"


def question_from_proto(request: export_service_pb2.ExportRequest) -> Question:
    """Return what is asked, and as what; refused by field where it is nothing that can be sent as a file."""
    name = _question_name(request)
    file_format = request.format or DEFAULT_FORMAT
    if file_format not in FORMATS:
        raise invalid_field("format", f"must be one of {', '.join(FORMATS)}", "VALUE_UNKNOWN")
    asked: Message = getattr(request, name)
    service, method, tables = _find_answer(asked.DESCRIPTOR.full_name)
    main = _MAIN_LISTS.get(name, next(iter(tables)))
    chosen = request.list or main
    if chosen not in tables:
        raise invalid_field("list", f"must be one of {', '.join(tables)}", "VALUE_UNKNOWN")
    if getattr(asked, "page_token", ""):
        raise invalid_field(f"{name}.page_token", "must be empty: all pages are sent", "FIELDS_CONFLICT")
    return Question(
        name=name,
        request=asked,
        service=service,
        method=method,
        table=tables[chosen],
        has_pages="page_token" in asked.DESCRIPTOR.fields_by_name
        and tables[chosen].path[:1] == tables[main].path[:1],  # one list, or a list of its entries
        file_format=file_format,
    )


def _question_name(request: export_service_pb2.ExportRequest) -> str:
    known = [field.name for field in request.DESCRIPTOR.oneofs_by_name["question"].fields]
    asked, named = request.WhichOneof("question"), request.question_name.replace("-", "_")
    if named and named not in known:
        raise invalid_field("question_name", f"must be one of {', '.join(known)}", "VALUE_UNKNOWN")
    if asked and named and named != asked:
        raise invalid_field("question_name", f"names another question than {asked}", "FIELDS_CONFLICT")
    if not (name := asked or named):
        raise invalid_field("question", f"is required: one of {', '.join(known)}", "FIELD_REQUIRED")
    return name


@cache
def _find_answer(request_name: str) -> tuple[str, str, Mapping[str, Table]]:
    """Return the service and the method that take a message, and the tables of what they answer."""
    for file in _SERVICES:
        for service in file.services_by_name.values():
            for method in service.methods:
                if method.input_type.full_name == request_name:
                    return service.name, method.name, list_tables(method.output_type)
    raise LookupError(f"no method takes {request_name}")


def page_request(question: Question, page_token: str) -> Message:
    """Return the question for one page, or as it is where there are none."""
    if not question.has_pages:
        return question.request
    request = type(question.request)()
    request.CopyFrom(question.request)
    setattr(request, "page_size", ENTRIES_PER_PAGE)  # noqa: B010 (what message it is, nobody here knows)
    setattr(request, "page_token", page_token)  # noqa: B010
    return request


def next_page_token(question: Question, answer: Message) -> str:
    """Return where the next page begins; empty after the last."""
    return str(getattr(answer, "next_page_token", "")) if question.has_pages else ""


def build_writer(question: Question) -> TableWriter:
    """Return what writes the file of a question."""
    return FORMATS[question.file_format](question.table.columns)


def write_answer(question: Question, writer: TableWriter, answer: Message) -> Iterator[bytes]:
    """Yield an answer's rows as parts of the file."""
    rows = question.table.rows(answer)
    while chunk := list(islice(rows, ROWS_PER_CHUNK)):
        yield writer.write(chunk)


def part_to_proto(writer: TableWriter, data: bytes) -> HttpBody:
    """Return a part of a file on its way out."""
    return HttpBody(content_type=writer.content_type, data=data)
