"""Answers as tables, for any message: what its descriptor says becomes columns and rows.

A column is a field; the fields of a message inside go under its name (`roas_interval.lower` becomes
`roas_interval_lower`). The entries of a list become rows, and lists within lists more rows. What stands
around the list is repeated in every row; where a name is taken by something nearer to the row, the outer one
is called `answer_…`. What is unset is None.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Literal

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Kind = Literal["integer", "number", "boolean", "text", "time", "texts"]
Value = Any
"""What a cell holds: int, float, bool, str, an aware datetime, a list of str, or None."""
Read = Callable[[Any], Value]
ANSWER = "answer"
"""The name of the table that is the answer itself, without its lists, in one row."""
_TIMESTAMP = "google.protobuf.Timestamp"
_PAGE_TOKEN = "next_page_token"  # noqa: S105 (the name of a field)
_SURROUNDING_MESSAGES = frozenset({_TIMESTAMP, "campaigns.type.v1.DateRange"})
_KINDS: Mapping[int, Kind] = {
    FieldDescriptor.CPPTYPE_INT32: "integer",
    FieldDescriptor.CPPTYPE_INT64: "integer",
    FieldDescriptor.CPPTYPE_UINT32: "integer",
    FieldDescriptor.CPPTYPE_UINT64: "integer",
    FieldDescriptor.CPPTYPE_FLOAT: "number",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_ENUM: "text",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: `read` reads it of the message that many steps down the table's path."""

    name: str
    kind: Kind
    level: int
    read: Read


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of one list of an answer.

    `path` leads to it, such as ("forecast", "points"); it is empty for the answer itself.
    """

    path: Sequence[str]
    columns: Sequence[Column]

    def rows(self, answer: Message) -> Iterator[list[Value]]:
        """Yield a row per entry, a value per column."""
        for messages in _walk([answer], self.path):
            yield [column.read(messages[column.level]) for column in self.columns]


def list_tables(answer: Descriptor) -> Mapping[str, Table]:
    """Return the tables an answer can be sent as, by their lists; `ANSWER` is the answer itself."""
    tables = {path[-1]: _build_table(answer, path) for path in _list_paths(answer)}
    if own := list(_columns(answer, level=0)):
        tables[ANSWER] = Table(path=(), columns=own)
    return tables


def _list_paths(descriptor: Descriptor, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None:
            continue
        path = (*before, field.name)
        if field.is_repeated:
            yield path
        yield from _list_paths(inner, path)


def _build_table(answer: Descriptor, path: tuple[str, ...]) -> Table:
    """Return the columns of the entries and of what is around them, from the outside in."""
    levels = [answer]
    around: list[Column] = []
    descriptor = answer
    for name in path:
        around += _surroundings(descriptor, level=len(levels) - 1)
        field = descriptor.fields_by_name[name]
        assert field.message_type is not None
        descriptor = field.message_type
        levels.append(descriptor)
    entries = list(_columns(descriptor, level=len(levels) - 1))
    taken = {column.name for column in entries}
    columns: list[Column] = []
    for column in reversed(around):
        name = column.name if column.name not in taken else f"{ANSWER}_{column.name}"
        taken.add(name)
        columns.append(replace(column, name=name))
    return Table(path=path, columns=[*reversed(columns), *entries])


def _surroundings(descriptor: Descriptor, *, level: int) -> Iterator[Column]:
    """Yield what a message says of all its entries: its own values, times and ranges of days."""
    for field in descriptor.fields:
        inner = field.message_type
        if field.is_repeated or (inner is not None and inner.full_name not in _SURROUNDING_MESSAGES):
            continue
        yield from _field_columns(field, level=level)


def _columns(
    descriptor: Descriptor, *, level: int, prefix: str = "", read: Read | None = None
) -> Iterator[Column]:
    for field in descriptor.fields:
        yield from _field_columns(field, level=level, prefix=prefix, outer=read)


def _field_columns(
    field: FieldDescriptor, *, level: int, prefix: str = "", outer: Read | None = None
) -> Iterator[Column]:
    name = f"{prefix}{field.name}"
    inner = field.message_type
    if field.name == _PAGE_TOKEN or (field.is_repeated and inner is not None):
        return
    if inner is not None and inner.full_name != _TIMESTAMP:
        message = _within(outer, _read_message(field))
        yield from _columns(inner, level=level, prefix=f"{name}_", read=message)
        return
    kind: Kind = "time" if inner is not None else _KINDS[field.cpp_type]
    read = _read_time(field) if inner is not None else _read_value(field)
    if field.is_repeated:
        kind, read = "texts", _read_texts(field)
    yield Column(name=name, kind=kind, level=level, read=_within(outer, read))


def _within(outer: Read | None, read: Read) -> Read:
    """Return what reads of a message that `outer` reads of another; None where there is none."""
    if outer is None:
        return read

    def read_inner(message: Any) -> Value:  # noqa: ANN401 (any generated message)
        inner = outer(message)
        return None if inner is None else read(inner)

    return read_inner


def _read_message(field: FieldDescriptor) -> Read:
    name = field.name
    return lambda message: getattr(message, name) if message.HasField(name) else None


def _read_time(field: FieldDescriptor) -> Read:
    name = field.name
    return lambda message: getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None


def _read_texts(field: FieldDescriptor) -> Read:
    name = field.name
    return lambda message: [str(value) for value in getattr(message, name)]


def _read_value(field: FieldDescriptor) -> Read:
    name = field.name
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda message: names.get(getattr(message, name), str(getattr(message, name)))
    if field.has_presence:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    return lambda message: getattr(message, name)


def _walk(above: list[Message], path: Sequence[str]) -> Iterator[list[Message]]:
    """Yield the messages from the answer down to each entry."""
    if not path:
        yield above
        return
    message: Any = above[-1]
    descriptor = message.DESCRIPTOR.fields_by_name[path[0]]
    if descriptor.is_repeated:
        entries = getattr(message, path[0])
    else:
        entries = [getattr(message, path[0])] if message.HasField(path[0]) else []
    for entry in entries:
        yield from _walk([*above, entry], path[1:])
