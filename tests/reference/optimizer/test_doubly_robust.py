"""The false slope: right where the regression is wrong, and known as well as its standard error says.

Expected values are those that the draws were made with. Offers of a stratum are 10, 15 and 20, drawn with
probabilities 1/4, 1/2 and 1/4.
"""

import numpy as np
import pytest

from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.response.doubly_robust import (
    CONFOUNDING_SPREAD,
    FEWEST_CAMPAIGNS,
    FalseSlope,
    believe,
    measure_false_slope,
)
from services.optimizer.domain.response.offer_cells import OfferCells
from services.optimizer.domain.response.response import logistic, logit

ARMS = np.array([10.0, 15.0, 20.0])
PROPENSITIES = np.array([0.25, 0.5, 0.25])
TRUE_SLOPE = 0.15
LEVEL = -1.2


def draw(
    rng: np.random.Generator, *, campaigns: int = 30, days: int = 12, views: int = 60, unequal: float = 0.0
) -> tuple[OfferCells, FloatArray]:
    """Draw outcomes of logit LEVEL + campaign + TRUE_SLOPE * (offer - 15); with the cells' true rates.

    The logarithms of campaigns' views differ by `unequal`.
    """
    own = np.repeat(rng.normal(0.0, 0.4, campaigns), days)
    sizes = np.repeat(
        np.rint(views * np.exp(unequal * rng.normal(size=campaigns))).astype(np.int64) + 1, days
    )
    counts = rng.multinomial(sizes, PROPENSITIES)
    rates = logistic(LEVEL + own[:, np.newaxis] + TRUE_SLOPE * (ARMS - 15.0))
    conversions = rng.binomial(counts, rates)
    seen = (counts > 0).ravel()

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, 3)[seen]

    cells = OfferCells(
        campaign=repeated(np.repeat(np.arange(campaigns), days)),
        day=repeated(np.tile(np.arange(days), campaigns)),
        offer_micros=np.tile(ARMS * 1e6, campaigns * days).astype(np.int64)[seen],
        segment_set_id=np.zeros(int(seen.sum()), dtype=np.int64),
        propensity=np.tile(PROPENSITIES, campaigns * days)[seen],
        views=counts.ravel()[seen],
        conversions=conversions.ravel()[seen],
        campaign_type=np.ones(int(seen.sum()), dtype=np.int64),
    )
    return cells, rates.ravel()[seen]


def bent(rates: FloatArray, cells: OfferCells, slope: float) -> FloatArray:
    """Return what a regression says that has the slope wrong by `slope`."""
    return logistic(logit(rates) - slope * (cells.offer_micros / 1e6 - 15.0))


@pytest.mark.parametrize("missing", [0.0, 0.03])
def test_the_missing_slope_is_found_though_the_levels_are_all_wrong(missing: float) -> None:
    """Doubly robust: the regression knows neither campaigns nor days, only (part of) the slope."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        cells, _ = draw(rng)
        offers = cells.offer_micros / 1e6 - 15.0
        flat = logistic(np.full(len(cells), LEVEL) + (TRUE_SLOPE - missing) * offers)
        measured = measure_false_slope(cells, flat)
        assert measured is not None
        found.append(measured.point_estimate)
    # Of the levels' spread (0.4) a tenth or so of the slope's unit is left: rates are averaged, not logits.
    assert np.mean(found) == pytest.approx(missing, abs=0.008)


def test_intervals_hold_the_false_slope_as_often_as_they_say() -> None:
    """400 draws: 90 % intervals hold it in 90 % of them, give or take 3 standard errors of 1.5 points."""
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(400):
        cells, rates = draw(rng, days=6)
        measured = measure_false_slope(cells, bent(rates, cells, 0.02))
        assert measured is not None
        lower, upper = measured.interval(0.9)
        held += lower <= 0.02 <= upper
    assert 0.855 <= held / 400 <= 0.945


@pytest.mark.parametrize(("campaigns", "unequal"), [(5, 1.0), (12, 1.5)])
def test_intervals_hold_it_where_few_campaigns_are_unequal(campaigns: int, unequal: float) -> None:
    """With as many degrees of freedom as campaigns less one, 83 to 86 % of 90 % intervals held it."""
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(300):
        cells, rates = draw(rng, campaigns=campaigns, days=6, unequal=unequal)
        measured = measure_false_slope(cells, bent(rates, cells, 0.02))
        assert measured is not None
        assert measured.degrees_of_freedom is not None
        assert 0.0 < measured.degrees_of_freedom < campaigns - 1
        lower, upper = measured.interval(0.9)
        held += lower <= 0.02 <= upper
    assert 0.88 <= held / 300 <= 0.98


def test_offers_that_were_not_drawn_say_nothing() -> None:
    cells, rates = draw(np.random.default_rng(9))
    certain = OfferCells(**{**vars(cells), "propensity": np.ones(len(cells))})
    unknown = OfferCells(**{**vars(cells), "propensity": np.zeros(len(cells))})
    rare = OfferCells(**{**vars(cells), "propensity": np.full(len(cells), 0.001)})
    for none_drawn in (certain, unknown, rare):
        assert measure_false_slope(none_drawn, rates) is None


def test_few_campaigns_have_no_standard_error() -> None:
    cells, rates = draw(np.random.default_rng(10), campaigns=FEWEST_CAMPAIGNS - 1)
    assert measure_false_slope(cells, rates) is None


def test_one_arm_a_day_compares_nothing() -> None:
    cells, rates = draw(np.random.default_rng(11))
    first = cells.offer_micros == 10_000_000
    assert measure_false_slope(cells.select(first), rates[first]) is None


def test_a_measurement_is_believed_as_far_as_it_is_sure() -> None:
    """Normal prior times normal likelihood, with the 90 % interval of Student's t (R's qt)."""
    assert believe(None) == (0.0, CONFOUNDING_SPREAD)
    measured = FalseSlope(point_estimate=0.02, standard_error=0.01, views=1_000, campaigns=30)
    variance = 1e-4 * (1.699127 / 1.644854) ** 2
    slope, error = believe(measured)
    assert slope == pytest.approx(0.02 * 9e-4 / (9e-4 + variance), rel=1e-5)
    assert error == pytest.approx((1 / (1 / 9e-4 + 1 / variance)) ** 0.5, rel=1e-5)
