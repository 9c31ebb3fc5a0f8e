"""Deliveries whose offers were drawn with a known probability, and what came of them, as columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import chain
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.features import BoolArray, FloatArray

IntArray = NDArray[np.intp]
Int64Array = NDArray[np.int64]

NO_SEGMENTS: Final = -1
"""The set of segments of users without any."""


@dataclass(frozen=True, kw_only=True)
class DecisionTable:
    """Logged decisions as aligned arrays (n).

    `user`, `campaign` and `version` (the logging policy's) are numbered from 0; `day` is the date's ordinal;
    `segment_set` is a key of the segments by set (-1: none). Money in micros.
    """

    user: IntArray
    campaign: IntArray
    version: IntArray
    day: Int64Array
    weekday: IntArray
    hour: IntArray
    segment_set: Int64Array
    offer_micros: Int64Array
    propensity: FloatArray
    conversions: Int64Array
    revenue_micros: Int64Array

    def __len__(self) -> int:
        return len(self.user)

    @property
    def first_day(self) -> date:
        """The earliest day of any decision."""
        return date.fromordinal(int(self.day.min()))

    def first(self, count: int) -> Self:
        """Return the first `count` decisions, as they were listed."""
        return self.take(np.arange(len(self)) < count)

    def take(self, mask: BoolArray) -> Self:
        """Return the decisions where the mask holds."""
        return type(self)(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def decision_table(
    batches: Sequence[Sequence[Iterable[object]]], campaign_ids: Sequence[str]
) -> DecisionTable:
    """Return batches of rows (at least one) as columns.

    A row is campaign, user, day, hour, logging policy or None, set of segments or None, offer, propensity,
    conversions and revenue. Campaigns are numbered by their place in `campaign_ids`.
    """
    place = {campaign_id: number for number, campaign_id in enumerate(campaign_ids)}
    parts = (zip(*rows, strict=True) for rows in batches)
    columns: Iterable[list[Any]] = (list(chain.from_iterable(each)) for each in zip(*parts, strict=True))
    campaign, user, day, hour, version, segment_set, offer, propensity, conversions, revenue = columns
    sets = [NO_SEGMENTS if number is None else number for number in segment_set]
    return DecisionTable(
        user=_number(user),
        campaign=np.array([place[name] for name in campaign], dtype=np.intp),
        version=_number([name or "" for name in version]),
        day=np.array([each.toordinal() for each in day], dtype=np.int64),
        weekday=np.array([each.weekday() for each in day], dtype=np.intp),
        hour=np.array(hour, dtype=np.intp),
        segment_set=np.array(sets, dtype=np.int64),
        offer_micros=np.array(offer, dtype=np.int64),
        propensity=np.array(propensity, dtype=np.float64),
        conversions=np.array(conversions, dtype=np.int64),
        revenue_micros=np.array(revenue, dtype=np.int64),
    )


def as_column(values: Sequence[float]) -> FloatArray:
    """Return numbers by campaign as an array."""
    return np.array(values, dtype=np.float64)


def _number(names: Sequence[str]) -> IntArray:
    """Return each name's number, from 0 in the order of the names."""
    return np.asarray(np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1], dtype=np.intp)
