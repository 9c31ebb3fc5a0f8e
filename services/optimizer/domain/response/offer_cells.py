"""Outcomes by campaign, day, offer as sent, and audience: what the response to offers is learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Final, Self

import numpy as np

from services.optimizer.domain.features import UNKNOWN_OFFER, BoolArray, DailyTable, FloatArray, IntArray
from services.optimizer.domain.response.response import Audience

UNSEGMENTED: Final = 0
"""The segment set of users without segments, and of views whose users nobody can tell any more."""
UNKNOWN_PROPENSITY: Final = 0.0
MOST_ROWS: Final = 100_000
"""Rows (campaign, day and offer) that a response is fitted to at most: it is sure long before."""
_SEED: Final = 11
_PRIOR_VIEWS: Final = 20.0

CellRow = tuple[str, date, int, int | None, float | None, int, int, int | None]
"""campaign_id, day, offer_micros, segment_set_id, propensity, views, conversions, counted_micros.

The last is the offer that they are counted under in the table: events need not repeat what was delivered."""
_AUDIENCE: Final = slice(0, 5)
_VIEWS: Final = 5
_CONVERSIONS: Final = 6
_COUNTED: Final = 7
"""Columns of a `CellRow` as integers: campaign, day, offer, segment set and propensity come first."""
_PROPENSITY_STEPS: Final = 1000
_NEARNESS: Final = ((0, 1, 2, 4), (0, 1, 2), (0, 2, 4), (0, 2))
"""Which cells stand in for one without room, the nearest first: those of its campaign and offer, of its day
and propensity if possible."""


@dataclass(frozen=True, kw_only=True)
class OfferCells:
    """Views and conversions, as parallel arrays of one length.

    `campaign` is a position in the `campaign_ids` of the table that the cells belong to, `day` a proleptic
    ordinal. `propensity` is the logged probability of the offer, `UNKNOWN_PROPENSITY` where none was.
    """

    campaign: IntArray
    day: IntArray
    offer_micros: IntArray
    segment_set_id: IntArray
    propensity: FloatArray
    views: IntArray
    conversions: IntArray
    campaign_type: IntArray

    def __len__(self) -> int:
        return len(self.day)

    def select(self, chosen: BoolArray) -> Self:
        """Return the cells where `chosen` holds."""
        return type(self)(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    @property
    def is_randomised(self) -> BoolArray:
        """Which cells had their offer drawn with a known probability, less than certain."""
        return (self.propensity > UNKNOWN_PROPENSITY) & (self.propensity < 1.0)


def offer_cells(rows: Sequence[CellRow], table: DailyTable) -> OfferCells:
    """Return cells that add up to the usable rows of `table`, by the offers that were answered.

    What `rows` (by audience, read event by event) lack of a table's row, because its events are no longer
    kept one by one, stands as a cell of `UNSEGMENTED` users; what they have of days and offers that the table
    does not have is left out. Conversions without views of their own, because those came on another day or
    say otherwise, count where their offer was viewed (`_hand_over`).
    """
    told = _told(rows, table)
    rest = _rest(told, table)
    kinds = np.zeros(len(table.campaign_ids), dtype=np.int64)
    kinds[table.campaign] = table.campaign_type
    keys, place = np.unique(told[:, _AUDIENCE], axis=0, return_inverse=True)
    views, conversions = (
        np.bincount(place.reshape(-1), weights=told[:, column], minlength=len(keys)).astype(np.int64)
        for column in (_VIEWS, _CONVERSIONS)
    )
    for nearness in _NEARNESS:
        conversions = _hand_over(conversions, views, keys[:, nearness])
    seen = views > 0
    columns = np.concatenate((keys[seen], rest[:, _AUDIENCE]))
    return OfferCells(
        campaign=columns[:, 0],
        day=columns[:, 1],
        offer_micros=columns[:, 2],
        segment_set_id=columns[:, 3],
        propensity=np.asarray(columns[:, 4] / _PROPENSITY_STEPS, dtype=np.float64),
        views=np.concatenate((views[seen], rest[:, _VIEWS])),
        conversions=np.concatenate((np.minimum(conversions, views)[seen], rest[:, _CONVERSIONS])),
        campaign_type=kinds[columns[:, 0]],
    )


def _told(rows: Sequence[CellRow], table: DailyTable) -> IntArray:
    """Return what events tell of days and offers of the table, with the columns of a `CellRow`.

    Conversions of an offer that no kept event viewed are none of them.
    """
    position = {campaign_id: index for index, campaign_id in enumerate(table.campaign_ids)}
    told = np.array(
        [
            (
                position[row[0]],
                row[1].toordinal(),
                row[2],
                row[3] or UNSEGMENTED,
                round((row[4] or UNKNOWN_PROPENSITY) * _PROPENSITY_STEPS),
                row[5],
                row[6],
                UNKNOWN_OFFER if row[7] is None else row[7],
            )
            for row in rows
            if row[0] in position
        ],
        dtype=np.int64,
    ).reshape(-1, _COUNTED + 1)
    counted = _places(
        np.column_stack((table.campaign, table.day, table.offer_micros)), told[:, (0, 1, _COUNTED)]
    )
    told = told[np.isin(counted[1], counted[0])]
    _, offer = np.unique(told[:, (0, 2)], axis=0, return_inverse=True)
    viewed = np.bincount(offer.reshape(-1), weights=told[:, _VIEWS]) > 0
    return np.asarray(told[viewed[offer.reshape(-1)]])


def _rest(told: IntArray, table: DailyTable) -> IntArray:
    """Return what the usable rows of the table have beyond `told`, in its columns."""
    usable = table.select(table.is_usable)
    of_table, of_told = _places(
        np.column_stack((usable.campaign, usable.day, usable.offer_micros)), told[:, (0, 1, _COUNTED)]
    )

    def missing(counts: IntArray, column: int) -> IntArray:
        width = max(int(of_table.max(initial=-1)), int(of_told.max(initial=-1))) + 1
        counted = np.bincount(of_told, weights=told[:, column], minlength=width)[of_table]
        return np.maximum(counts - counted.astype(np.int64), 0)

    views = missing(usable.views, _VIEWS)
    conversions = np.minimum(missing(usable.conversions, _CONVERSIONS), views)
    unknown = np.zeros(len(usable), dtype=np.int64)
    rest = np.column_stack(
        (
            *(usable.campaign, usable.day, usable.offer_micros, unknown + UNSEGMENTED, unknown),
            *(views, conversions, usable.offer_micros),
        )
    )
    return np.asarray(rest[views > 0])


def _places(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
    """Return a number for every row of each, the same for equal rows."""
    _, places = np.unique(np.concatenate((first, second)), axis=0, return_inverse=True)
    of_first, of_second = np.split(places.reshape(-1), [len(first)])
    return of_first, of_second


def _hand_over(conversions: IntArray, views: IntArray, groups: IntArray) -> IntArray:
    """Return `conversions` with those beyond a cell's views counted in cells of its group that have room.

    In proportion to the room; `groups` (cells, any) are equal for cells of a group. What finds no room stays
    with one cell of the group.
    """
    if len(views) == 0:
        return conversions
    _, group = np.unique(groups, axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    group, held = group.reshape(-1)[order], np.minimum(conversions, views)[order]
    room = views[order] - held
    excess = np.bincount(group, weights=conversions[order] - held).astype(np.int64)
    total = np.bincount(group, weights=room).astype(np.int64)
    moved = np.minimum(excess, total)
    first = np.searchsorted(group, np.arange(len(total)))
    upto = np.cumsum(room) - (np.cumsum(room) - room)[first][group]
    shares = moved[group] * upto // np.maximum(total, 1)[group]
    shares -= np.where(np.arange(len(group)) == first[group], 0, np.roll(shares, 1))
    held += shares
    held[first] += excess - moved
    result = np.empty_like(conversions)
    result[order] = held
    return result


def sample_campaigns(table: DailyTable, most_rows: int = MOST_ROWS) -> DailyTable:
    """Return the rows of campaigns drawn at random (seeded), as many whole ones as `most_rows` hold."""
    if len(table) <= most_rows:
        return table
    campaigns, inverse, counts = np.unique(table.campaign, return_inverse=True, return_counts=True)
    order = np.random.default_rng(_SEED).permutation(len(campaigns))
    kept = np.zeros(len(campaigns), dtype=np.bool_)
    kept[order[np.cumsum(counts[order]) <= most_rows]] = True
    return table.select(kept[inverse])


@dataclass(frozen=True, kw_only=True)
class CampaignAudience:
    """Who viewed a campaign: views by offer (micros) and segment set, over the days of a training."""

    views: Mapping[tuple[int, int], int]

    def at_offers(self, offers_micros: Sequence[int], segment_effects: Mapping[int, float]) -> Audience:
        """Return the audience as a whole, and of each of `offers_micros`.

        An offer's own shares are drawn towards the whole audience's by `_PRIOR_VIEWS` views, so that an offer
        that few saw, or none, counts as sent to everybody.
        """
        sets = sorted({segment_set for _, segment_set in self.views})
        totals = np.array(
            [sum(views for (_, of_set), views in self.views.items() if of_set == each) for each in sets],
            dtype=np.float64,
        )
        shares = totals / totals.sum()
        own = np.array(
            [[self.views.get((offer, each), 0) for each in sets] for offer in offers_micros],
            dtype=np.float64,
        )
        drawn = own + _PRIOR_VIEWS * shares
        return Audience(
            effects=np.array([segment_effects.get(each, 0.0) for each in sets]),
            shares=shares,
            anchor_shares=drawn / drawn.sum(axis=1, keepdims=True),
        )


@dataclass(frozen=True, kw_only=True)
class DrawnOffers:
    """How many of a campaign type's views had an offer that was drawn with a logged probability."""

    views: int
    drawn_views: int

    @property
    def share(self) -> float:
        """The share, 0 to 1."""
        return self.drawn_views / self.views if self.views else 0.0


def survey_drawn_offers(cells: OfferCells) -> dict[int, DrawnOffers]:
    """Return what each campaign type drew at random."""
    drawn = cells.is_randomised
    return {
        int(kind): DrawnOffers(
            views=int(cells.views[cells.campaign_type == kind].sum()),
            drawn_views=int(cells.views[(cells.campaign_type == kind) & drawn].sum()),
        )
        for kind in np.unique(cells.campaign_type)
    }
