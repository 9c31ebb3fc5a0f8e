"""What users did by the hour of the day and by the day of the week, counted in their own time zones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]

HOURS: Final = 24
WEEKDAYS: Final = 7
TYPES: Final = 8
"""Campaign types of the wire, 1 to 7, and 0 for campaigns whose type is not known."""


@dataclass(frozen=True, kw_only=True)
class CellCount:
    """What a user did in one hour (0 to 23) of one weekday (Monday 0), local time, in a campaign or outside.

    Outside (`campaign_id` None), `acts` are hours in which the user bought, each once however much was
    bought. Of the `deliveries` of a campaign sent in this hour, `views` were seen (by a person) within three
    days, and `conversions` bought. `days` is how often the weekday occurred, from the first to the last
    day that counts of the user, in one row of the weekday's, and 0 in its others.
    """

    user_id: str
    campaign_id: str | None
    campaign_type: int
    weekday: int
    hour: int
    acts: int
    deliveries: int
    views: int
    conversions: int
    days: int = 0


@dataclass(frozen=True, kw_only=True)
class CycleCounts:
    """Counts of many users around one cycle of `cells` cells (24 hours or 7 weekdays).

    `acts` (users, cells); `deliveries`, `views`, `conversions` (users, types, cells). `exposure` (users,
    cells) is how often each cell occurred, None for all alike.
    """

    acts: FloatArray
    deliveries: FloatArray
    views: FloatArray
    conversions: FloatArray
    exposure: FloatArray | None = None

    def take(self, users: IntArray) -> Self:
        """The users at the positions."""
        return type(self)(
            exposure=None if self.exposure is None else self.exposure[users],
            acts=self.acts[users],
            deliveries=self.deliveries[users],
            views=self.views[users],
            conversions=self.conversions[users],
        )


@dataclass(frozen=True, kw_only=True)
class Sendings:
    """Deliveries by user, campaign, weekday and hour, one row each, as columns; campaigns are numbered."""

    user: IntArray
    campaign: IntArray
    campaign_type: IntArray
    weekday: IntArray
    hour: IntArray
    deliveries: FloatArray
    views: FloatArray
    conversions: FloatArray


@dataclass(frozen=True, kw_only=True)
class History:
    """What users did, by the hour and by the weekday; row i of every array is `user_ids[i]`."""

    user_ids: tuple[str, ...]
    hours: CycleCounts
    days: CycleCounts

    @classmethod
    def of(cls, user_ids: Sequence[str], counts: Sequence[CellCount]) -> Self:
        """Sort counts by user; users without any have zeros."""
        position = {user_id: index for index, user_id in enumerate(user_ids)}
        user = np.array([position[count.user_id] for count in counts], dtype=np.intp)
        kind = np.array([count.campaign_type for count in counts], dtype=np.intp)
        weekday = np.array([count.weekday for count in counts], dtype=np.intp)
        hour = np.array([count.hour for count in counts], dtype=np.intp)
        numbers = np.array(
            [(count.acts, count.deliveries, count.views, count.conversions) for count in counts],
            dtype=np.float64,
        ).reshape(-1, 4)
        days = _sum_cells((len(user_ids), WEEKDAYS), (user, kind, weekday), numbers)
        occurred = np.zeros((len(user_ids), WEEKDAYS))
        np.add.at(occurred, (user, weekday), np.array([count.days for count in counts], dtype=np.float64))
        occurred[occurred.sum(axis=1) == 0] = 1.0  # nobody knows since when
        return cls(
            user_ids=tuple(user_ids),
            hours=_sum_cells((len(user_ids), HOURS), (user, kind, hour), numbers),
            days=replace(days, exposure=occurred),
        )

    @property
    def evidence(self) -> NDArray[np.int64]:
        """How much is known of each user: hours in which they bought, and deliveries to them."""
        total = self.hours.acts.sum(axis=1) + self.hours.deliveries.sum(axis=(1, 2))
        return np.asarray(np.rint(total), dtype=np.int64)

    def take(self, users: IntArray) -> Self:
        """The users at the positions."""
        return type(self)(
            user_ids=tuple(self.user_ids[index] for index in users),
            hours=self.hours.take(users),
            days=self.days.take(users),
        )


def list_sendings(user_ids: Sequence[str], counts: Sequence[CellCount]) -> Sendings:
    """Return the counts inside campaigns as columns."""
    position = {user_id: index for index, user_id in enumerate(user_ids)}
    campaigns: dict[str, int] = {}
    rows = [
        (
            position[count.user_id],
            campaigns.setdefault(count.campaign_id, len(campaigns)),
            count.campaign_type,
            count.weekday,
            count.hour,
            count.deliveries,
            count.views,
            count.conversions,
        )
        for count in counts
        if count.campaign_id is not None
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 8).T
    user, campaign, campaign_type, weekday, hour = columns[:5].astype(np.intp)
    deliveries, views, conversions = columns[5:].astype(np.float64)
    return Sendings(
        user=user,
        campaign=campaign,
        campaign_type=campaign_type,
        weekday=weekday,
        hour=hour,
        deliveries=deliveries,
        views=views,
        conversions=conversions,
    )


def _sum_cells(
    shape: tuple[int, int], index: tuple[IntArray, IntArray, IntArray], numbers: FloatArray
) -> CycleCounts:
    """Add rows of `numbers` (acts, deliveries, views, conversions) up by (user, campaign type, cell)."""
    users, cells = shape
    user, _, cell = index
    acts = np.zeros(shape)
    np.add.at(acts, (user, cell), numbers[:, 0])
    answers = np.zeros((3, users, TYPES, cells))
    for position in range(3):
        np.add.at(answers[position], index, numbers[:, 1 + position])
    return CycleCounts(acts=acts, deliveries=answers[0], views=answers[1], conversions=answers[2])
