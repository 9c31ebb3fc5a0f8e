"""How often 90 % intervals hold the true level of a type's next campaign, over simulated types.

Expected numbers are the levels that the counts were drawn with. The world's truth is exact: the share of new
levels that an interval holds is that of the normal law they come from.
"""

import numpy as np
import pytest
from scipy.special import ndtr, stdtrit

from services.optimizer.domain.features import DailyTable
from services.optimizer.domain.response.between_campaigns import survey_campaigns
from services.optimizer.domain.response.response import TypeResponse, logistic, logit

FLAT = TypeResponse(coefficients=np.zeros(3), covariance=np.zeros((3, 3)))
Types = tuple[tuple[int, float], ...]
"""Campaigns of each type, and the deviation of their levels."""


def draw(
    rng: np.random.Generator, types: Types, *, views: int, rate: float, merchants: int = 0
) -> DailyTable:
    """Draw campaigns of types; of `merchants` that have nothing in common, or of unknown ones."""
    kinds = np.repeat(np.arange(1, len(types) + 1), [campaigns for campaigns, _ in types])
    deviations = np.array([deviation for _, deviation in types])[kinds - 1]
    seen = rng.poisson(views, len(kinds)) + 1
    levels = logit(np.array([rate]))[0] + deviations * rng.normal(size=len(kinds))
    return DailyTable(
        campaign_ids=tuple(f"c{index}" for index in range(len(kinds))),
        campaign=np.arange(len(kinds)),
        day=np.full(len(kinds), 739_000),
        offer_micros=np.full(len(kinds), 10_000_000),
        impressions=3 * seen,
        views=seen,
        conversions=rng.binomial(seen, logistic(levels)),
        campaign_type=kinds,
        merchant_id=rng.integers(1, merchants + 1, len(kinds)) if merchants else np.zeros_like(kinds),
    )


def held(types: Types, *, views: int, rate: float, worlds: int = 30) -> tuple[float, float]:
    """Return the share of new levels of the first type that are held, and that of the others'."""
    shares = np.zeros((worlds, len(types)))
    middle = logit(np.array([rate]))[0]
    for world in range(worlds):
        table = draw(np.random.default_rng([2026, world]), types, views=views, rate=rate)
        between = survey_campaigns(table, dict.fromkeys(range(1, len(types) + 1), FLAT))
        for place, (_, deviation) in enumerate(types):
            level = between.new_level(place + 1, 0)
            assert level is not None
            reach = level.deviation * float(stdtrit(level.degrees, 0.95))
            ends = (level.mean + np.array([-reach, reach]) - middle) / deviation
            shares[world, place] = ndtr(ends[1]) - ndtr(ends[0])
    by_type = shares.mean(axis=0)
    return float(by_type[0]), float(by_type[1:].mean())


@pytest.mark.parametrize(
    ("campaigns", "views", "rate"), [(20, 15, 0.2), (20, 400, 0.01)], ids=["few views", "rare"]
)
def test_few_conversions_widen_no_more_than_they_hide(campaigns: int, views: int, rate: float) -> None:
    """Of 3 types of one deviation: 89.6 and 88.6 % over 100 further worlds; with each type beside a
    constant number of the others' degrees of freedom it was 97 and 94 %."""
    first, others = held(((campaigns, 0.5),) * 3, views=views, rate=rate)
    assert 0.85 < (first + 2.0 * others) / 3.0 < 0.93


def test_a_type_that_spreads_more_leaves_the_others_narrow() -> None:
    """A type of 4 that differs by 1, two of 30 by 0.2: 87 % and 89 % over 100 further worlds."""
    first, others = held(((4, 1.0), (30, 0.2), (30, 0.2)), views=400, rate=0.2)
    assert first > 0.8
    assert 0.86 < others < 0.93


def test_lone_conversions_of_few_views_are_no_merchants_doing() -> None:
    """100 merchants of some three campaigns with some five views each, of which 2 % convert, share nothing.

    By the unweighted analysis of variance (Henderson's first method) their deviation was 0.27 on average and
    up to 1.1, more than campaigns differ by at all; with views as unequal as markets' up to 3.
    """
    found = []
    for world in range(10):
        table = draw(np.random.default_rng([7, world]), ((100, 0.5),) * 3, views=5, rate=0.02, merchants=100)
        between = survey_campaigns(table, dict.fromkeys((1, 2, 3), FLAT))
        found.append(between.merchant_variance**0.5)
    assert np.mean(found) < 0.22
    assert max(found) < 0.75
