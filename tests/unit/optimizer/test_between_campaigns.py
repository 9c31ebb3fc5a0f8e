"""How campaigns of a type differ: the spread's estimate, levels beside a response, types of few campaigns."""

import math
from dataclasses import replace

import numpy as np
import pytest

from services.optimizer.domain.features import DailyTable, FloatArray, IntArray
from services.optimizer.domain.response.between_campaigns import (
    BetweenCampaigns,
    survey_campaigns,
)
from services.optimizer.domain.response.response import TypeResponse, logistic
from services.optimizer.domain.response.type_spreads import LEAST_DEGREES

RESPONSE = TypeResponse(coefficients=np.array([0.5, 1.5, 0.5]), covariance=np.zeros((3, 3)))


def draw_table(
    levels_by_type: dict[int, FloatArray],
    *,
    impressions: int = 20_000,
    seed: int = 1,
    merchants: IntArray | None = None,
    day_deviation: float = 0.0,
) -> DailyTable:
    """Two days of each campaign at two offers, with the true levels given and 60 % of impressions viewed."""
    rng = np.random.default_rng(seed)
    rows = []
    campaign = 0
    for kind, levels in levels_by_type.items():
        for level in levels:
            merchant = 1 if merchants is None else int(merchants[campaign])
            for day, offer in enumerate((10.0, 20.0)):
                logit = level + RESPONSE.effect(np.array([offer])) + rng.normal(0.0, day_deviation)
                views = int(rng.binomial(impressions, 0.6))
                conversions = int(rng.binomial(views, logistic(logit)[0]))
                rows.append(
                    (campaign, day, int(offer * 1e6), impressions, views, conversions, kind, merchant)
                )
            campaign += 1
    columns = np.array(rows, dtype=np.int64).T
    return DailyTable(
        campaign_ids=tuple(f"c{index}" for index in range(campaign)),
        campaign=columns[0],
        day=columns[1],
        offer_micros=columns[2],
        impressions=columns[3],
        views=columns[4],
        conversions=columns[5],
        campaign_type=columns[6],
        merchant_id=columns[7],
    )


def test_levels_and_views_are_found_beside_the_response() -> None:
    levels = np.random.default_rng(3).normal(-3.0, 0.5, 40)
    of_type = survey_campaigns(draw_table({2: levels}), {2: RESPONSE}).types[2]
    assert of_type.campaigns == 40
    assert of_type.level.mean == pytest.approx(float(levels.mean()), abs=0.02)
    assert of_type.level.deviation == pytest.approx(float(levels.std(ddof=1)), rel=0.05)
    assert of_type.level.degrees == pytest.approx(39, rel=0.15)
    assert of_type.level.mean_variance == pytest.approx(of_type.level.deviation**2 / 40, rel=0.1)
    assert logistic(np.array([of_type.view_rate.mean]))[0] == pytest.approx(0.6, abs=0.002)
    assert of_type.view_rate.deviation < 0.02


def test_a_type_of_few_campaigns_borrows_from_the_others() -> None:
    many = np.random.default_rng(4).normal(-3.0, 0.5, 30)
    between = survey_campaigns(
        draw_table({1: many, 2: np.array([-2.5]), 3: np.array([-3.0, -3.0])}),
        {1: RESPONSE, 2: RESPONSE, 3: RESPONSE},
    )
    usual, lone, alike = (between.new_level(kind, 1) for kind in (1, 2, 3))
    assert between.types[2].campaigns == 1
    assert usual is not None
    assert lone is not None
    assert alike is not None
    assert 0.3 * usual.normal_deviation < alike.normal_deviation < lone.normal_deviation
    assert usual.normal_deviation < lone.normal_deviation < 5.0 * usual.normal_deviation
    assert max(alike.degrees, lone.degrees) < 4.0 < usual.degrees


def test_a_type_that_spreads_more_than_the_others_borrows_little() -> None:
    rng = np.random.default_rng(9)
    calm = {kind: rng.normal(-3.0, 0.1, 30) for kind in (2, 3)}
    types = survey_campaigns(
        draw_table({1: np.array([-4.0, -3.5, -2.5, -2.0]), **calm}), dict.fromkeys((1, 2, 3), RESPONSE)
    ).types
    assert types[1].level.deviation > 0.8
    assert types[1].level.degrees == pytest.approx(3.5, abs=1.0)
    assert types[2].level.normal_deviation < 0.15


def test_a_lone_type_of_few_campaigns_counts_them_once() -> None:
    level = survey_campaigns(draw_table({1: np.array([-3.4, -3.0, -2.6])}), {1: RESPONSE}).types[1].level
    assert LEAST_DEGREES == 2.0 <= level.degrees < 4.0
    assert level.deviation == pytest.approx(0.4, rel=0.1)
    # Averaged over deviations, larger ones weigh more.
    assert 0.4**2 / 3 < level.mean_variance < 3.0 * 0.4**2 / 3


@pytest.mark.parametrize(
    "levels_by_type",
    [
        {1: np.array([-3.0, -2.5])},
        {1: np.array([-3.0]), 2: np.array([-3.0]), 3: np.array([-3.0])},
        {4: np.array([-3.0, -2.5, -2.0])},
    ],
    ids=["two campaigns", "no two of one type", "no identified response"],
)
def test_too_few_campaigns_tell_of_no_spread(levels_by_type: dict[int, FloatArray]) -> None:
    between = survey_campaigns(draw_table(levels_by_type), {1: RESPONSE, 2: RESPONSE, 3: RESPONSE})
    assert between == BetweenCampaigns()
    assert between.new_level(1, 1) is None


def test_a_campaign_without_conversions_keeps_a_finite_level() -> None:
    table = draw_table({1: np.array([-40.0, -3.0, -2.9, -3.1])}, impressions=1_000)
    assert int(table.conversions[:2].sum()) == 0
    spread = survey_campaigns(table, {1: RESPONSE}).types[1].level
    assert np.isfinite([spread.mean, spread.deviation]).all()


def test_what_a_merchants_campaigns_share_moves_and_narrows_its_next_one() -> None:
    """Ten merchants with six campaigns each: standard deviations 0.6 between them and 0.2 within."""
    rng = np.random.default_rng(6)
    shared = np.repeat(rng.normal(0.0, 0.6, 10), 6)
    levels = -3.0 + shared + rng.normal(0.0, 0.2, 60)
    between = survey_campaigns(
        draw_table({1: levels}, merchants=np.repeat(np.arange(1, 11), 6)), {1: RESPONSE}
    )
    assert math.sqrt(between.merchant_variance) == pytest.approx(0.6, rel=0.35)
    known, unknown = between.new_level(1, 3), between.new_level(1, 99)
    assert known is not None
    assert unknown is not None
    assert known.mean == pytest.approx(-3.0 + shared[12], abs=0.3)
    assert unknown.mean == pytest.approx(-3.0, abs=0.4)
    assert known.deviation < 0.7 * unknown.deviation


def test_campaigns_that_share_nothing_with_their_merchant_have_no_effect_of_it() -> None:
    levels = np.random.default_rng(7).normal(-3.0, 0.5, 8)
    between = survey_campaigns(draw_table({1: levels}), {1: RESPONSE})
    assert between.merchants == {}
    assert between.merchant_variance == 0.0


def test_days_scatter_by_what_they_were_drawn_with() -> None:
    levels = np.random.default_rng(8).normal(-2.0, 0.3, 60)
    calm = survey_campaigns(draw_table({1: levels}), {1: RESPONSE})
    uneven = survey_campaigns(draw_table({1: levels}, day_deviation=0.25), {1: RESPONSE})
    assert calm.day_deviation < 0.05
    # Two days a campaign: half of their scatter is taken for the campaign's level.
    assert uneven.day_deviation == pytest.approx(0.25 / math.sqrt(2.0), rel=0.2)


def test_new_campaigns_spread_by_more_than_those_seen() -> None:
    levels = np.random.default_rng(5).normal(-3.0, 0.5, 12)
    between = survey_campaigns(draw_table({1: levels}), {1: RESPONSE})
    new = between.new_level(1, 1)
    assert new is not None
    uniform = (np.arange(2000) + 0.5) / 2000
    assert new.draw(uniform).mean() == pytest.approx(new.mean, abs=0.01)
    assert new.deviation > between.types[1].level.deviation
    assert new.normal_deviation > new.deviation
    known = replace(new, degrees=1e6)
    assert new.expected_rate(0.5) == pytest.approx(
        float(logistic(0.5 + known.draw(uniform)).mean()), rel=1e-3
    )
    assert logistic(between.new_view_rate(1).draw(uniform)) == pytest.approx(0.6, abs=0.05)
