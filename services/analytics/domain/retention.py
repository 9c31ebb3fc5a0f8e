"""How far back raw events are kept, and what is said where an answer would need older ones.

A day is sealed as a whole: its raw events go, what they amounted to stays, and no event of it is taken any
more. Whether a day is sealed is kept in the database and never taken back, so that an event that was dropped
cannot come in a second time, whatever the horizon is set to later.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.analytics.domain.periods import day_of, day_starts_at
from services.common.errors import FailedPreconditionError, FieldViolation

_DAY = timedelta(days=1)


def last_expired_day(now: datetime, zone: ZoneInfo, retention_days: int | None) -> date | None:
    """Return the last day that is older than events are kept: today and the days before it are kept."""
    return None if retention_days is None else day_of(now, zone) - (retention_days + 1) * _DAY


def later_day(one: date | None, other: date | None) -> date | None:
    """Return the later of two days; None is before all."""
    if one is None or other is None:
        return one or other
    return max(one, other)


def first_open_moment(closed_through: date | None, zone: ZoneInfo) -> datetime | None:
    """Return the first moment after a day, in UTC; None where no day is closed."""
    return None if closed_through is None else day_starts_at(closed_through + _DAY, zone)


def group_hours(hours: Sequence[tuple[datetime, int]], most_events: int) -> list[datetime]:
    """Return the beginnings of spans of hours, each with at most `most_events` unless it is a single hour.

    Args:
        hours: the hours in order, each with its events.
        most_events: what a span should hold.
    """
    spans: list[datetime] = []
    held = 0
    for hour, events in hours:
        if not spans or held + events > most_events:
            spans.append(hour)
            held = 0
        held += events
    return spans


def is_sealed(day: date, sealed_through: date | None) -> bool:
    """Return whether the raw events of a day are gone or going."""
    return sealed_through is not None and day <= sealed_through


def check_unsealed(day: date, sealed_through: date | None, field: str) -> None:
    """Refuse an answer that needs raw events from `day` on, where that day is sealed.

    Args:
        day: the first day whose raw events are needed.
        sealed_through: the last sealed day; None where none is.
        field: the request's field that asked for the day.

    Raises:
        FailedPreconditionError: EVENTS_SEALED, with the last sealed day in its metadata.
    """
    if sealed_through is None or not is_sealed(day, sealed_through):
        return
    description = f"needs single events, and those through {sealed_through} are kept as sums only"
    raise FailedPreconditionError(
        f"{field}: {description}",
        reason="EVENTS_SEALED",
        violations=(FieldViolation(field=field, description=description, reason="EVENTS_SEALED"),),
        metadata={"sealed_through": sealed_through.isoformat()},
    )
