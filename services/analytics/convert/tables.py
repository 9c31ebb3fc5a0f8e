"""Tables as files, written piece by piece: CSV and Parquet."""

import csv
import importlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from services.analytics.convert.flatten import Column, Kind, Value

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class TableWriter(Protocol):
    """Turns rows into the bytes of a file; what it returns is to be sent in that order."""

    content_type: str

    def begin(self) -> bytes:
        """Return what comes before the rows."""

    def write(self, rows: Sequence[Sequence[Value]]) -> bytes:
        """Return some rows; what they do not complete may come later."""

    def end(self) -> bytes:
        """Return what comes after the rows."""


class CsvWriter:
    """RFC 4180 in UTF-8, with a header line; None is nothing, times are ISO 8601, lists are JSON.

    A text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage return)
    gets an apostrophe in front, which spreadsheets hide (OWASP, "CSV Injection").
    """

    content_type = "text/csv; charset=utf-8; header=present"

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        """Return the header line."""
        return _csv_bytes([[column.name for column in self._columns]])

    def write(self, rows: Sequence[Sequence[Value]]) -> bytes:
        """Return a line per row."""
        return _csv_bytes([[_csv_cell(value) for value in row] for row in rows])

    def end(self) -> bytes:
        """Return nothing: a CSV file has no end."""
        return b""


def _csv_bytes(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _csv_cell(value: Value) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return value


class ParquetWriter:
    """Apache Parquet; a row group per call of `write`, so that no more than that is held."""

    content_type = "application/vnd.apache.parquet"

    def __init__(self, columns: Sequence[Column]) -> None:
        # 54 MiB and a tenth of a second that a serving process spends when it is first asked.
        self._arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        types = _arrow_types(self._arrow)
        self._schema = self._arrow.schema([(column.name, types[column.kind]) for column in columns])
        self._written = _Written()
        self._writer = parquet.ParquetWriter(self._written, self._schema)

    def begin(self) -> bytes:
        """Return the file's first bytes."""
        return self._written.take()

    def write(self, rows: Sequence[Sequence[Value]]) -> bytes:
        """Return a row group."""
        columns = list(zip(*rows, strict=True)) or [() for _ in self._schema]
        arrays = [
            self._arrow.array(values, type=field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        return self._written.take()

    def end(self) -> bytes:
        """Return the footer, which says where everything is."""
        self._writer.close()
        return self._written.take()


class _Written:
    """A file to write to, as pyarrow asks of one, whose bytes are taken away while its position goes on."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        """Keep some bytes."""
        self._parts.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how much was written in all."""
        return self._position

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Say that nothing more comes."""
        self.closed = True

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _arrow_types(arrow: Any) -> dict[Kind, Any]:  # noqa: ANN401 (pyarrow has no types)
    return {
        "integer": arrow.int64(),
        "number": arrow.float64(),
        "boolean": arrow.bool_(),
        "text": arrow.string(),
        "time": arrow.timestamp("us", tz="UTC"),
        "texts": arrow.list_(arrow.string()),
    }


FORMATS: Mapping[str, Callable[[Sequence[Column]], TableWriter]] = {
    "csv": CsvWriter,
    "parquet": ParquetWriter,
}
