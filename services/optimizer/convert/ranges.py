"""Intervals between the wire and the domain."""

from gen.campaigns.type.v1 import range_pb2
from services.optimizer.domain.offers.answer import Interval


def interval_to_proto(interval: Interval | None) -> range_pb2.ConfidenceInterval | None:
    """Return an interval; what is not known stays unset."""
    if interval is None:
        return None
    return range_pb2.ConfidenceInterval(lower=interval.lower, upper=interval.upper)
