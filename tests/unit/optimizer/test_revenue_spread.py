"""What a new campaign's conversions bring, and how uncertain that is."""

import math

import numpy as np
import pytest

from services.optimizer.domain.response.revenue_spread import CampaignTotals, survey_revenue


def totals(merchant: int, mean: float, conversions: int = 100) -> CampaignTotals:
    return CampaignTotals(
        merchant_id=merchant, conversions=conversions, revenue_micros=round(mean * conversions * 1e6)
    )


def test_campaigns_scatter_around_their_own_merchants_mean() -> None:
    campaigns = [totals(1, 40.0), totals(1, 44.0), totals(2, 400.0), totals(2, 440.0), totals(3, 5.0)]
    revenue = survey_revenue(1, campaigns, order_variation=0.5)
    assert revenue is not None
    assert revenue.mean == pytest.approx(42.0)
    step = math.log(1.1) / 2.0
    assert revenue.log_deviation == pytest.approx(math.sqrt(4 * step**2 / 2 * 1.5))
    assert revenue.degrees == 2.0


def test_without_two_campaigns_of_a_merchant_all_are_compared() -> None:
    revenue = survey_revenue(1, [totals(1, 40.0), totals(2, 80.0)], order_variation=0.0)
    assert revenue is not None
    assert revenue.degrees == 1.0
    assert revenue.log_deviation == pytest.approx(math.log(2.0) / math.sqrt(2.0) * math.sqrt(2.0))


@pytest.mark.parametrize(
    "campaigns",
    [
        [],
        [totals(2, 40.0), totals(2, 50.0)],
        [totals(1, 40.0)],
        [totals(1, 0.0), totals(2, 40.0), totals(2, 44.0)],
        [totals(1, 40.0, conversions=9), totals(2, 40.0)],
    ],
    ids=["none", "other merchants'", "one campaign", "no revenue", "too few conversions"],
)
def test_what_nobody_knows_is_not_made_up(campaigns: list[CampaignTotals]) -> None:
    assert survey_revenue(1, campaigns, order_variation=0.5) is None


def test_draws_lie_around_the_expected_revenue() -> None:
    revenue = survey_revenue(1, [totals(1, 40.0), totals(1, 41.0), totals(1, 39.0)], order_variation=1.0)
    assert revenue is not None
    uniform = np.random.default_rng(1).random((2, 4000))
    draws = revenue.draw(np.full(4000, 400), uniform[0], uniform[1])
    assert float(np.median(draws)) == pytest.approx(16_000, rel=0.01)
    assert (draws >= 0.0).all()
    orders_alone = 40.0 * math.sqrt(400)
    assert float(draws.std()) > orders_alone
