"""Ranges of days and confidence intervals on their way to the wire."""

from gen.campaigns.type.v1 import range_pb2
from services.analytics.domain.intervals import ConfidenceInterval
from services.analytics.domain.metrics import DateRange


def range_to_proto(days: DateRange | None) -> range_pb2.DateRange | None:
    """Return a range of days, both ends included; None stays unset."""
    if days is None:
        return None
    return range_pb2.DateRange(start_date=days.start.isoformat(), end_date=days.end.isoformat())


def interval_to_proto(
    interval: ConfidenceInterval | None, *, divisor: int = 1
) -> range_pb2.ConfidenceInterval | None:
    """Return an interval, both ends divided by `divisor`; None stays unset."""
    if interval is None:
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower / divisor, upper=interval.upper / divisor)
