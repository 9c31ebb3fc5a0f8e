"""Which segments to send a campaign to: by what it adds where that is known, else by how they convert."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.segments.segments import SegmentRate
from services.optimizer.domain.segments.uplift import Uplift, UpliftBasis, VariantOfTest

_MOST_NAMED: Final = 3
"""Tests that evidence names; of more it says how many."""


@dataclass(frozen=True, kw_only=True)
class RankedSegment:
    """A segment and its place, from 1; `uplift` is None where there is no control."""

    rank: int
    rate: SegmentRate
    uplift: Uplift | None
    evidence: str

    @property
    def basis(self) -> UpliftBasis:
        """What stands behind the uplift."""
        return UpliftBasis.NONE if self.uplift is None else self.uplift.basis


@dataclass(frozen=True, kw_only=True)
class SegmentRanking:
    """A campaign's segments, the best first, and what to beware of."""

    campaign_id: str
    segments: tuple[RankedSegment, ...]
    is_by_uplift: bool
    warnings: tuple[str, ...]


def rank_segments(
    campaign_id: str, rates: Sequence[SegmentRate], uplifts: Mapping[str, Uplift]
) -> SegmentRanking:
    """Return segments with an uplift by uplift, then the others by their ratio, ties by name.

    One uplift alone ranks nothing: all then go by their ratio.
    """
    is_by_uplift = sum(rate.segment_name in uplifts for rate in rates) > 1
    by = uplifts if is_by_uplift else {}
    order = sorted(rates, key=lambda rate: _order(rate, by.get(rate.segment_name)))
    ranked = tuple(
        RankedSegment(
            rank=place,
            rate=rate,
            uplift=uplifts.get(rate.segment_name),
            evidence=_evidence(rate, uplifts.get(rate.segment_name)),
        )
        for place, rate in enumerate(order, start=1)
    )
    return SegmentRanking(
        campaign_id=campaign_id,
        segments=ranked,
        is_by_uplift=is_by_uplift,
        warnings=tuple(_warn(ranked, is_by_uplift=is_by_uplift)),
    )


def _order(rate: SegmentRate, uplift: Uplift | None) -> tuple[bool, float, str]:
    ratio = -math.inf if rate.ratio is None else rate.ratio
    return (uplift is None, -(ratio if uplift is None else uplift.value), rate.segment_name)


def _evidence(rate: SegmentRate, uplift: Uplift | None) -> str:
    seen = (
        f"{rate.users} users in {rate.campaigns} campaigns of this type (counted once for each campaign)"
        if rate.campaigns > 1
        else f"{rate.users} users in one campaign of this type"
    )
    if uplift is None:
        return (
            f"Descriptive: {seen}{_compare(rate)}. Nobody was left out by chance, so"
            " this says who converts, not whom the campaign moves."
        )
    sides = f"{uplift.treated_users} against {uplift.control_users} users"
    if uplift.basis is UpliftBasis.AB_TEST:
        return (
            "Uplift within the segment of this campaign over the control of its A/B tests (converting users"
            f" over users), {sides} drawn by chance: {_name(uplift.variants)}. Another campaign, or other"
            f" days, may move them otherwise. Beside it {seen}."
        )
    return (
        "Uplift within the segment of the highest over the lowest offer drawn on each day (conversions"
        f" over deliveries), {sides} drawn by chance: what a higher offer adds there, and not what sending to"
        f" the segment adds; beside it {seen}."
    )


def _name(variants: Sequence[VariantOfTest]) -> str:
    more = len(variants) - _MOST_NAMED
    named = "; ".join(str(variant) for variant in variants[:_MOST_NAMED])
    return f"{named}; and {more} begun before" if more > 0 else named


def _compare(rate: SegmentRate) -> str:
    """Return what is ranked by, in words: the segment's rate beside everybody's in its campaigns."""
    if rate.conversion_rate is None or rate.expected_rate is None or rate.ratio is None:
        return ", without views or conversions to compare"
    seen = _with_interval(rate.conversion_rate, rate.conversion_rate_interval)
    expected = _with_interval(rate.expected_rate, rate.expected_rate_interval)
    times = _with_interval(rate.ratio, rate.ratio_interval, places=2)
    return (
        f"; {seen} of views converted where everybody whom the same campaigns reach, this segment included,"
        f" makes {expected} at the same offers: {times} times as many"
    )


def _with_interval(value: float, interval: Interval | None, *, places: int = 3) -> str:
    if interval is None:
        return f"{value:.{places}f}"
    return f"{value:.{places}f} ({interval.lower:.{places}f} to {interval.upper:.{places}f})"


def _warn(ranked: Sequence[RankedSegment], *, is_by_uplift: bool) -> list[str]:
    bases = {segment.basis for segment in ranked}
    warnings = []
    if not is_by_uplift or UpliftBasis.NONE in bases:
        warnings.append(
            "Segments without a control are ranked by how they convert; an A/B test of the campaign shows"
            " whom it moves."
        )
    rates = [segment.rate.conversion_rate or 0.0 for segment in ranked if segment.rate.ratio is not None]
    if not is_by_uplift and rates != sorted(rates, reverse=True):
        warnings.append(
            "Ranked by relative_conversion_rate and not by conversion_rate: a segment that was sent campaigns"
            " that everybody likes converts more without being the better choice."
        )
    if is_by_uplift and len(bases) > 1:
        warnings.append("Segments with an uplift come first; what stands behind each is its basis.")
    if len(ranked) > 1:
        warnings.append(
            "Each interval is its segment's alone: of several, the first is likely to be somewhat overstated."
        )
    return warnings
