"""Kept analyses as files: a row per analysis, metric and group, with the group's comparison with control."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Final

from google.api.httpbody_pb2 import HttpBody

from gen.campaigns.abtest.v1 import export_service_pb2 as pb
from services.abtest.convert.violations import Violations
from services.abtest.domain.analysis import KeptAnalysis
from services.abtest.domain.comparisons import Comparison, GroupValue, MetricResult
from services.abtest.domain.model import ABTest
from services.abtest.domain.proportions import Interval

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]

CSV, JSON_LINES = "csv", "jsonl"
FIRST_PAGE: Final = 2**31 - 1
"""No analysis has a number above."""
_CONTENT_TYPES: Final = {
    CSV: "text/csv; charset=utf-8; header=present",
    JSON_LINES: "application/jsonl; charset=utf-8",
}
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME: Final = 100

_ANALYSIS: Final[Mapping[str, Callable[[KeptAnalysis], Cell]]] = {
    "result_number": lambda kept: kept.number,
    "analyzed_time": lambda kept: kept.analyzed_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    "is_final": lambda kept: kept.is_final,
    "verdict": lambda kept: kept.analysis.decision.verdict.name.lower(),
    "winner": lambda kept: kept.analysis.decision.winner,
}
_METRIC: Final[Mapping[str, Callable[[MetricResult], Cell]]] = {
    "metric_name": lambda result: result.metric.name,
    "role": lambda result: result.metric.role.label,
}
_GROUP: Final[Mapping[str, Callable[[GroupValue], Cell]]] = {
    "group": lambda group: group.group,
    "users": lambda group: group.users,
    "total": lambda group: group.total,
    "denominator_total": lambda group: group.denominator_total,
    "value": lambda group: group.value,
    "value_interval_lower": lambda group: _end(group.value_interval, "lower"),
    "value_interval_upper": lambda group: _end(group.value_interval, "upper"),
    "standard_error": lambda group: group.standard_error,
    "adjusted_value": lambda group: group.adjusted_value,
}
_COMPARISON: Final[Mapping[str, Callable[[Comparison], Cell]]] = {
    "method": lambda each: each.test.method if each.test else None,
    "statistic": lambda each: each.test.statistic if each.test else None,
    "p_value": lambda each: each.test.p_value if each.test else None,
    "log10_p_value": lambda each: each.test.log10_p_value if each.test else None,
    "adjusted_p_value": lambda each: each.adjusted_p_value,
    "false_discovery_p_value": lambda each: each.false_discovery_p_value,
    "anytime_p_value": lambda each: each.anytime.p_value if each.anytime else None,
    "absolute_lift": lambda each: each.absolute_lift,
    "absolute_lift_interval_lower": lambda each: _end(each.absolute_lift_interval, "lower"),
    "absolute_lift_interval_upper": lambda each: _end(each.absolute_lift_interval, "upper"),
    "relative_lift": lambda each: each.relative_lift,
    "relative_lift_interval_lower": lambda each: _end(each.relative_lift_interval, "lower"),
    "relative_lift_interval_upper": lambda each: _end(each.relative_lift_interval, "upper"),
    "anytime_relative_lift_interval_lower": lambda each: _anytime_end(each, "lower"),
    "anytime_relative_lift_interval_upper": lambda each: _anytime_end(each, "upper"),
    "stratified_relative_lift": lambda each: each.stratified_relative_lift,
    "power": lambda each: each.power,
    "probability_to_beat_control": lambda each: each.probability_to_beat_control,
    "expected_loss": lambda each: each.expected_loss,
    "variance_reduction": lambda each: each.variance_reduction,
    "non_inferiority_p_value": lambda each: each.non_inferiority_p_value,
}
COLUMNS: Final = ("test_id", "test_name", *_ANALYSIS, *_METRIC, *_GROUP, *_COMPARISON)


def export_from_proto(request: pb.ExportTestResultsRequest) -> tuple[str, str, bool]:
    """Return the test, the format, and whether only the newest analysis is wanted.

    Raises:
        InvalidArgumentError: naming every field that is wrong.
    """
    violations = Violations()
    violations.check_id(request.test_id, "test_id")
    file_format = request.format or CSV
    violations.check(
        file_format in _CONTENT_TYPES,
        "format",
        f"must be one of {', '.join(_CONTENT_TYPES)}",
        "VALUE_UNKNOWN",
    )
    violations.raise_any()
    return request.test_id, file_format, request.newest_only


def file_name(test: ABTest, file_format: str) -> str:
    """Return what the file may be called: letters that no file system and no header stumbles over."""
    return f"{_UNSAFE.sub('_', f'test-results-{test.test_id}')[:_LONGEST_NAME]}.{file_format}"


def head_to_proto(file_format: str) -> HttpBody:
    """Return what comes before the rows: the header line of CSV, else an empty part that names the type."""
    return _part(file_format, _csv([COLUMNS]) if file_format == CSV else "")


def analysis_to_rows(test: ABTest, kept: KeptAnalysis) -> Iterator[Row]:
    """Yield a row per metric and group; what is undefined, or too large for a double, is None."""
    about = {"test_id": test.test_id, "test_name": test.design.test_name}
    for result in kept.analysis.metrics:
        comparisons = {each.group: each for each in result.comparisons}
        for group in result.groups:
            comparison = comparisons.get(group.group)
            yield {
                **about,
                **{name: read(kept) for name, read in _ANALYSIS.items()},
                **{name: read(result) for name, read in _METRIC.items()},
                **{name: _finite(read(group)) for name, read in _GROUP.items()},
                **{
                    name: _finite(read(comparison)) if comparison else None
                    for name, read in _COMPARISON.items()
                },
            }


def rows_to_proto(rows: Sequence[Row], file_format: str) -> HttpBody:
    """Return rows as a part of the file."""
    if file_format == CSV:
        return _part(file_format, _csv([[_csv_cell(row[name]) for name in COLUMNS] for row in rows]))
    return _part(file_format, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _part(file_format: str, text: str) -> HttpBody:
    return HttpBody(content_type=_CONTENT_TYPES[file_format], data=text.encode())


def _csv(rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _csv_cell(value: Cell) -> Cell:
    """Return a cell as CSV has it; a text that a spreadsheet would calculate gets an apostrophe in front."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _end(interval: Interval | None, name: str) -> float | None:
    return None if interval is None else float(getattr(interval, name))


def _anytime_end(comparison: Comparison, name: str) -> float | None:
    return _end(comparison.anytime.relative_lift_interval, name) if comparison.anytime else None


def _finite(value: Cell) -> Cell:
    return None if isinstance(value, float) and not math.isfinite(value) else value
