"""How campaigns of a type differ: the spread's estimate, levels beside a response, types of few campaigns."""

import numpy as np
import pytest

from services.optimizer.domain.between_campaigns import paule_mandel, survey_campaigns
from services.optimizer.domain.features import DailyTable
from services.optimizer.domain.response import TypeResponse, logistic

RESPONSE = TypeResponse(coefficients=np.array([0.5, 1.5, 0.5]), covariance=np.zeros((3, 3)))


def draw_table(
    levels_by_type: dict[int, np.ndarray], *, impressions: int = 20_000, seed: int = 1
) -> DailyTable:
    """Two days of each campaign at two offers, with the true levels given and 60 % of impressions viewed."""
    rng = np.random.default_rng(seed)
    rows = []
    campaign = 0
    for kind, levels in levels_by_type.items():
        for level in levels:
            for day, offer in enumerate((10.0, 20.0)):
                rate = logistic(level + RESPONSE.effect(np.array([offer])))[0]
                views = int(rng.binomial(impressions, 0.6))
                conversions = int(rng.binomial(views, rate))
                rows.append((campaign, day, int(offer * 1e6), impressions, views, conversions, kind, 1))
            campaign += 1
    columns = np.array(rows, dtype=np.int64).T
    names = ("campaign", "day", "offer_micros", "impressions", "views", "conversions", "campaign_type")
    return DailyTable(
        campaign_ids=tuple(f"c{index}" for index in range(campaign)),
        **dict(zip(names, columns, strict=False)),
        merchant_id=columns[7],
    )


def test_tau_squared_makes_the_weighted_squares_their_own_expectation() -> None:
    """Trials of BCG vaccination (Colditz et al. 1994): log risk ratios and their variances."""
    values, variances = np.array(
        [
            *[(-0.8893, 0.3256), (-1.5854, 0.1946), (-1.3481, 0.4154), (-1.4416, 0.0200), (-0.2175, 0.0512)],
            *[(-0.7861, 0.0069), (-1.6209, 0.2230), (0.0120, 0.0040), (-0.4694, 0.0564), (-1.3713, 0.0730)],
            *[(-0.3394, 0.0124), (0.4459, 0.5325), (-0.0173, 0.0714)],
        ]
    ).T
    mean, between = paule_mandel(values, variances)
    weights = 1.0 / (variances + between)
    assert float(np.sum(weights * (values - mean) ** 2)) == pytest.approx(len(values) - 1, rel=1e-9)
    assert between == pytest.approx(0.318, abs=0.001)  # metafor, rma(method="PM")


def test_values_that_differ_by_chance_alone_have_no_spread() -> None:
    mean, between = paule_mandel(np.array([1.0, 1.1, 0.9]), np.array([0.04, 0.04, 0.04]))
    assert (mean, between) == (pytest.approx(1.0), 0.0)


def test_levels_and_views_are_found_beside_the_response() -> None:
    levels = np.random.default_rng(3).normal(-3.0, 0.5, 40)
    between = survey_campaigns(draw_table({2: levels}), {2: RESPONSE})
    assert between[2].campaigns == 40
    assert between[2].level.mean == pytest.approx(float(levels.mean()), abs=0.02)
    assert between[2].level.deviation == pytest.approx(float(levels.std(ddof=1)), rel=0.05)
    assert between[2].level.degrees == pytest.approx(39 + 5)
    assert logistic(np.array([between[2].view_rate.mean]))[0] == pytest.approx(0.6, abs=0.002)
    assert between[2].view_rate.deviation < 0.02


def test_a_type_of_few_campaigns_borrows_from_the_others() -> None:
    many = np.random.default_rng(4).normal(-3.0, 0.5, 30)
    between = survey_campaigns(
        draw_table({1: many, 2: np.array([-2.5]), 3: np.array([-3.0, -3.0])}),
        {1: RESPONSE, 2: RESPONSE, 3: RESPONSE},
    )
    assert between[2].campaigns == 1
    assert between[2].level.deviation == pytest.approx(between[1].level.deviation, rel=0.1)
    assert 0.7 * between[1].level.deviation < between[3].level.deviation < between[1].level.deviation
    assert between[2].level.degrees == 5.0


@pytest.mark.parametrize(
    "levels_by_type",
    [
        {1: np.array([-3.0, -2.5])},
        {1: np.array([-3.0]), 2: np.array([-3.0]), 3: np.array([-3.0])},
        {4: np.array([-3.0, -2.5, -2.0])},
    ],
    ids=["two campaigns", "no two of one type", "no identified response"],
)
def test_too_few_campaigns_tell_of_no_spread(levels_by_type: dict[int, np.ndarray]) -> None:
    assert not survey_campaigns(draw_table(levels_by_type), {1: RESPONSE, 2: RESPONSE, 3: RESPONSE})


def test_a_campaign_without_conversions_keeps_a_finite_level() -> None:
    table = draw_table({1: np.array([-40.0, -3.0, -2.9, -3.1])}, impressions=1_000)
    assert int(table.conversions[:2].sum()) == 0
    spread = survey_campaigns(table, {1: RESPONSE})[1].level
    assert np.isfinite([spread.mean, spread.deviation]).all()


def test_draws_of_new_campaigns_spread_by_more_than_those_seen() -> None:
    levels = np.random.default_rng(5).normal(-3.0, 0.5, 12)
    spread = survey_campaigns(draw_table({1: levels}), {1: RESPONSE})[1]
    uniform = (np.arange(2000) + 0.5) / 2000
    drawn = spread.draw_levels(uniform)
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)
    assert drawn.std() > spread.level.deviation
    assert spread.draw_view_rates(uniform) == pytest.approx(0.6, abs=0.05)
