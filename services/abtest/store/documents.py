"""Dataclasses as JSON and back, so that what was said can be kept whole.

What JSON lacks is written so: enums by their value, times in ISO 8601, durations in seconds, and numbers that
are not finite as text. A field that came later has its default when an older document is read.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_document(value: object) -> Any:  # noqa: ANN401 (JSON is of many types)
    """Return `value` as JSON has it.

    Raises:
        TypeError: a value that is none of the above, nor text, number, tuple, list or set of texts.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_document(getattr(value, field.name)) for field in fields(value)}
    match value:
        case tuple() | list():
            return [to_document(each) for each in value]
        case frozenset():
            return sorted(value)
    return _scalar_to_document(value)


def _scalar_to_document(value: object) -> str | float | None:
    match value:
        case Enum():
            return _scalar_to_document(value.value)
        case float():
            return value if math.isfinite(value) else str(value)
        case None | int() | str():
            return value
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no place in a document")


def from_document(kind: Callable[..., T], document: Mapping[str, Any]) -> T:
    """Return the dataclass `kind` that `to_document` wrote.

    Raises:
        TypeError: a field without a default is missing, or its type is none that `to_document` writes.
    """
    hints = _hints(kind)
    return kind(**{name: _read(hints[name], value) for name, value in document.items() if name in hints})


@cache
def _hints(kind: Callable[..., object]) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, value: Any) -> Any:  # noqa: ANN401 (types and JSON are of many types)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        return None if value is None else _read(inner, value)
    if origin is tuple:
        return tuple(_read(get_args(hint)[0], each) for each in value)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_document(hint, value)
    return _read_scalar(hint, value)


def _read_scalar(hint: Any, value: Any) -> Any:  # noqa: ANN401 (types and JSON are of many types)
    if hint in (bool, int, str):
        return value
    if hint is timedelta:
        return timedelta(seconds=value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    if isinstance(hint, type) and issubclass(hint, Enum | float):
        return hint(value)
    raise TypeError(f"no document holds {hint}")
