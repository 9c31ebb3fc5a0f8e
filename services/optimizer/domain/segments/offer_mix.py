"""What everybody would convert by at the offers that a segment viewed.

Managers send the higher offers to those who convert less. So the rate seen at an offer is that of whom it
was sent to, and a segment that was sent the low ones would be held against a rate that is mostly its own. The
logistic model

    logit p = offer of the campaign + sum of the effects of the user's segments

takes the two apart. Its likelihood is greatest where it expects the conversions seen at each offer of each
campaign and those seen in each segment (sufficient statistics of a canonical link: McCullagh & Nelder,
"Generalized linear models", 1989, section 4.4), so that nobody has to count conversions by both. Everybody's
rate at an offer is then that of all who viewed the campaign, each as the model says (direct standardisation).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.segments.segments import SegmentSums

EFFECT_SPREAD: Final = 1.0
"""Standard deviation of the prior of a segment's effect, on the logit: as wide as effects may be expected."""
_ROUNDS: Final = 50
_TOLERANCE: Final = 1e-6
_LARGEST_STEP: Final = 1.0
_HALF: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class OfferViewers:
    """Views of an offer of a campaign by users of one set of segments; `rate` is everybody's at the offer."""

    campaign_id: str
    offer_amount_micros: int
    segment_set_id: int
    views: int
    rate: float


def compare_at_offers(
    sums: Sequence[SegmentSums], viewers: Sequence[OfferViewers], segments: Mapping[int, Sequence[str]]
) -> list[SegmentSums]:
    """Return the sums with what offers make of them, which stays 1 where nobody counted who viewed what."""
    known = {(each.campaign_id, each.segment_name): each for each in sums if each.views}
    measured = {campaign for campaign, _ in known}
    rows = [each for each in viewers if each.campaign_id in measured]
    names = sorted({name for _, name in known if name})
    if not rows or not names:
        return list(sums)
    found = _compare(_Table.of(rows, segments, known, names), names)
    of_each = [found.get((each.campaign_id, each.segment_name), (1.0, 1.0)) for each in sums]
    return [
        replace(each, offer_factor=factor, offer_spread=spread)
        for each, (factor, spread) in zip(sums, of_each, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Rows of viewers, in the order of cells (an offer of a campaign); `starts` are the cells' first rows.

    `member` (rows, segments) is 1 where the row's users are of a segment that was measured in the campaign;
    `of_segments` (segments) are the conversions seen of them, `of_cells` those seen at each offer.
    """

    campaigns: Sequence[str]
    campaign: NDArray[np.intp]
    cell: NDArray[np.intp]
    starts: NDArray[np.intp]
    views: FloatArray
    member: FloatArray
    of_cells: FloatArray
    of_segments: FloatArray

    @classmethod
    def of(
        cls,
        rows: Sequence[OfferViewers],
        segments: Mapping[int, Sequence[str]],
        known: Mapping[tuple[str, str], SegmentSums],
        names: Sequence[str],
    ) -> Self:
        """Lay out the rows; a campaign's segment has the conversions of its rate at the views counted."""
        rows = sorted(rows, key=lambda row: (row.campaign_id, row.offer_amount_micros))
        campaigns, campaign = np.unique([row.campaign_id for row in rows], return_inverse=True)
        numbers, number = np.unique([row.segment_set_id for row in rows], return_inverse=True)
        of_set = np.array([[name in segments.get(each, ()) for name in names] for each in numbers.tolist()])
        pairs = [[known.get((each, name)) for name in names] for each in campaigns.tolist()]
        is_measured = np.array([[pair is not None for pair in of_campaign] for of_campaign in pairs])
        rates = np.array([[0.0 if pair is None else pair.rate for pair in each] for each in pairs])
        member = (of_set[number] & is_measured[campaign]).astype(np.float64)
        offers = np.array([row.offer_amount_micros for row in rows])
        is_first = (campaign[1:] != campaign[:-1]) | (offers[1:] != offers[:-1])
        starts = np.flatnonzero(np.r_[True, is_first])
        views = np.array([row.views for row in rows], dtype=np.float64)
        in_cells = np.add.reduceat(views, starts)
        seen_rate = np.array([rows[at].rate for at in starts])
        return cls(
            campaigns=campaigns.tolist(),
            campaign=campaign,
            cell=np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(rows)])),
            starts=starts,
            views=views,
            member=member,
            of_cells=np.clip(seen_rate * in_cells, np.minimum(_HALF, in_cells / 2.0), in_cells - _HALF),
            of_segments=np.asarray(views @ (member * rates[campaign])),
        )

    def fit(self) -> tuple[FloatArray, FloatArray]:
        """Return the logits of the cells, and the effects of segments: the posterior's mode.

        Newton's steps for the effects, in each of which the cells are fitted first (the profile likelihood,
        which is concave).
        """
        in_cells = np.add.reduceat(self.views, self.starts)
        cells, effects = logit(self.of_cells / in_cells), np.zeros(self.member.shape[1])
        for _ in range(_ROUNDS):
            cells = self._fit_cells(cells, effects)
            rate = expit(cells[self.cell] + self.member @ effects)
            weight = self.views * rate * (1.0 - rate)
            weighed = weight[:, np.newaxis] * self.member
            shared = np.add.reduceat(weighed, self.starts)
            gradient = self.of_segments - (self.views * rate) @ self.member - effects / EFFECT_SPREAD**2
            curvature = self.member.T @ weighed + np.eye(len(effects)) / EFFECT_SPREAD**2
            curvature -= (shared / np.add.reduceat(weight, self.starts)[:, np.newaxis]).T @ shared
            step = np.clip(np.linalg.solve(curvature, gradient), -_LARGEST_STEP, _LARGEST_STEP)
            effects = effects + step
            if np.abs(step).max() < _TOLERANCE:
                break
        return self._fit_cells(cells, effects), effects

    def _fit_cells(self, cells: FloatArray, effects: FloatArray) -> FloatArray:
        """Return the cells' logits at which each expects what was seen in it, given the effects."""
        shift = self.member @ effects
        for _ in range(_ROUNDS):
            rate = expit(cells[self.cell] + shift)
            missing = self.of_cells - np.add.reduceat(self.views * rate, self.starts)
            weight = np.add.reduceat(self.views * rate * (1.0 - rate), self.starts)
            step = np.clip(missing / weight, -_LARGEST_STEP, _LARGEST_STEP)
            cells = cells + step
            if np.abs(step).max() < _TOLERANCE:
                break
        return cells


def _compare(table: _Table, names: Sequence[str]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the `offer_factor` and the `offer_spread` by campaign and segment."""
    cells, effects = table.fit()
    shift = table.member @ effects
    in_cells = np.add.reduceat(table.views, table.starts)
    by_cell = np.add.reduceat(table.views[:, np.newaxis] * table.member, table.starts)
    numbers = np.arange(len(table.campaigns) + 1)
    row_bounds = np.searchsorted(table.campaign, numbers)
    cell_bounds = np.searchsorted(table.campaign[table.starts], numbers)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for at, campaign in enumerate(table.campaigns):
        rows, offers = slice(*row_bounds[at : at + 2]), slice(*cell_bounds[at : at + 2])
        views, total = table.views[rows], float(table.views[rows].sum())
        everybody = expit(cells[offers, np.newaxis] + shift[rows]) @ views / total
        own = table.of_cells[offers].sum() / total
        viewed = by_cell[offers].sum(axis=0)
        there = np.flatnonzero(viewed > 0.0)
        share = by_cell[offers][:, there] / viewed[there]
        is_all = viewed[there] >= total  # sent as the campaign is, and so held against just that
        factors = np.where(is_all, 1.0, everybody @ share / own)
        spreads = (total / in_cells[offers]) @ share**2
        for place, factor, spread in zip(there.tolist(), factors.tolist(), spreads.tolist(), strict=True):
            found[campaign, names[place]] = (factor, spread)
    return found
