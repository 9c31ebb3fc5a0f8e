"""Outcomes by campaign, day, offer as sent, and audience: what the response to offers is learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Final, Self

import numpy as np

from services.optimizer.domain.features import BoolArray, DailyTable, FloatArray, IntArray
from services.optimizer.domain.response import Audience

UNSEGMENTED: Final = 0
"""The segment set of users without segments, and of views whose users nobody can tell any more."""
UNKNOWN_PROPENSITY: Final = 0.0
MOST_ROWS: Final = 100_000
"""Rows (campaign, day and offer) that a response is fitted to at most: it is sure long before."""
_SEED: Final = 11
_PRIOR_VIEWS: Final = 20.0

CellRow = tuple[str, date, int, int | None, float | None, int, int]
"""campaign_id, day, offer_micros, segment_set_id, propensity, views, conversions."""


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
    """Return cells that add up to the usable rows of `table`.

    What `rows` (by audience, read event by event) lack of a table's row, because its events are no longer
    kept one by one, stands as a cell of `UNSEGMENTED` users; what they have beyond it is left out.
    """
    place = {campaign_id: index for index, campaign_id in enumerate(table.campaign_ids)}
    known = [row for row in rows if row[0] in place]
    campaign = np.array([place[row[0]] for row in known], dtype=np.int64)
    day = np.array([row[1].toordinal() for row in known], dtype=np.int64)
    offer = np.array([row[2] for row in known], dtype=np.int64)
    usable = table.is_usable
    keys, parent = np.unique(
        np.concatenate(
            [
                np.column_stack((table.campaign[usable], table.day[usable], table.offer_micros[usable])),
                np.column_stack((campaign, day, offer)),
            ]
        ),
        axis=0,
        return_inverse=True,
    )
    row_parent, cell_parent = np.split(parent.reshape(-1), [int(usable.sum())])

    def missing(of_table: IntArray, of_cells: IntArray) -> IntArray:
        counted = np.bincount(cell_parent, weights=of_cells, minlength=len(keys))[row_parent]
        return np.maximum(of_table[usable] - counted.astype(np.int64), 0)

    views = np.array([row[5] for row in known], dtype=np.int64)
    conversions = np.minimum(np.array([row[6] for row in known], dtype=np.int64), views)
    kinds = np.zeros(len(table.campaign_ids), dtype=np.int64)
    kinds[table.campaign] = table.campaign_type
    rest_views = missing(table.views, views)
    rest_conversions = np.minimum(missing(table.conversions, conversions), rest_views)
    told = np.isin(cell_parent, row_parent) & (views > 0)
    rest = rest_views > 0
    return OfferCells(
        campaign=np.concatenate((campaign[told], table.campaign[usable][rest])),
        day=np.concatenate((day[told], table.day[usable][rest])),
        offer_micros=np.concatenate((offer[told], table.offer_micros[usable][rest])),
        segment_set_id=np.concatenate(
            (
                np.array([row[3] or UNSEGMENTED for row in known], dtype=np.int64)[told],
                np.full(int(rest.sum()), UNSEGMENTED, dtype=np.int64),
            )
        ),
        propensity=np.concatenate(
            (
                np.array([row[4] or UNKNOWN_PROPENSITY for row in known], dtype=np.float64)[told],
                np.full(int(rest.sum()), UNKNOWN_PROPENSITY),
            )
        ),
        views=np.concatenate((views[told], rest_views[rest])),
        conversions=np.concatenate((conversions[told], rest_conversions[rest])),
        campaign_type=np.concatenate((kinds[campaign[told]], table.campaign_type[usable][rest])),
    )


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
