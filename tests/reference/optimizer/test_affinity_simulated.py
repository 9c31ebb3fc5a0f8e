"""Users' merchants in a simulated world whose habits are known (examples/simulated_world/README.md).

The seed was not used in development. What a user visits is drawn from `preferences`, so the true
probability of a visit within seven days is 1 - exp(-7 x purchases per day x preference). Counts of
purchases are the baseline, popularity another; counts that mix in redemptions follow who was sent what, and
are worse. What campaigns convert is `0.35 ln(1 + 10 preference)` on the logit beside what the campaign itself
does; the campaigns' true rates stand in here for those that a training would know (`python -m
examples.simulated_world.shown` has both fitted, over many worlds).
"""

from datetime import date

import numpy as np
import pytest

from examples.simulated_world.contacts import AffinityWorld, read_world
from examples.simulated_world.evaluate.choices import conversion_chances, reachable, score_orders
from examples.simulated_world.evaluate.merchants import popular_merchants, score_merchants
from examples.simulated_world.evaluate.offers import place_of
from examples.simulated_world.population import DAYS
from examples.simulated_world.truth import Truth
from services.optimizer.affinity_training.pipeline import Fitted
from services.optimizer.domain.affinity.answer import score_range
from services.optimizer.domain.affinity.contacts import FloatArray, total_by
from services.optimizer.domain.affinity.model import HORIZON_DAYS

SEED = 90_210
END = date(2026, 11, 19)
SLICES = 40


@pytest.fixture(scope="module")
def market() -> AffinityWorld:
    return read_world(SEED, END)


@pytest.fixture(scope="module")
def fitted(market: AffinityWorld) -> Fitted:
    return market.fit()


@pytest.fixture(scope="module")
def scores(market: AffinityWorld, fitted: Fitted) -> FloatArray:
    """(users, merchants)."""
    return market.scores(fitted)


def recall(scores: FloatArray, truth: Truth) -> float:
    first = np.argsort(-scores, axis=1, kind="stable")[:, :3] + 1
    return score_merchants(first.tolist(), range(len(scores)), truth)


def visits(market: AffinityWorld, kinds: tuple[int, ...]) -> FloatArray:
    contacts = market.contacts
    key = contacts.user * len(market.merchants) + contacts.merchant
    counted = np.isin(contacts.kind, kinds).astype(np.float64)
    return total_by(key, counted, market.user_count * len(market.merchants)).reshape(market.user_count, -1)


def test_preferred_merchants_are_found(market: AffinityWorld, fitted: Fitted, scores: FloatArray) -> None:
    truth = Truth.of(market.world)
    everyone = range(market.user_count)
    popular = score_merchants([popular_merchants(market.world.users)] * market.user_count, everyone, truth)
    reached = recall(scores, truth)
    assert fitted.report.is_better
    assert reached >= 0.92
    assert reached > recall(visits(market, (0,)), truth)
    assert recall(visits(market, (0, 1)), truth) < reached - 0.03
    assert popular < 0.2


def test_scores_are_probabilities(market: AffinityWorld, scores: FloatArray) -> None:
    """In every band of scores, the mean true probability is the mean score, within a few hundredths."""
    users = market.world.users
    truth = -np.expm1(-HORIZON_DAYS * users.purchases_per_day[:, np.newaxis] * users.preferences)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.mean() == pytest.approx(truth.mean(), rel=0.06)
    for lower, upper in ((0.0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1.0)):
        inside = (scores >= lower) & (scores < upper)
        assert inside.sum() > 200
        assert scores[inside].mean() == pytest.approx(truth[inside].mean(), abs=0.05)


def test_bands_hold_what_the_held_out_week_brought(fitted: Fitted) -> None:
    bands = fitted.model.bands
    assert len(bands) == 12
    assert all(band.lower < band.visited_share < band.upper for band in bands)
    near = [band.lower - 0.02 <= band.mean_score <= band.upper + 0.02 for band in bands]
    assert sum(near) >= 11
    assert fitted.report.calibration_error < 0.01


def test_intervals_of_scores_hold_how_often_such_scores_come_true(
    market: AffinityWorld, fitted: Fitted, scores: FloatArray
) -> None:
    """Slices of scores with equally many visits expected, finer than the bands; nominal is 95 %."""
    users = market.world.users
    truth = -np.expm1(-HORIZON_DAYS * users.purchases_per_day[:, np.newaxis] * users.preferences)
    told = scores >= fitted.model.bands[0].lower_score
    order = np.argsort(scores[told])
    expected = np.cumsum(scores[told][order])
    slices = np.searchsorted(np.linspace(0.0, expected[-1], SLICES, endpoint=False), expected) - 1
    counts = np.bincount(slices)
    means, shares = (np.bincount(slices, each[told][order]) / counts for each in (scores, truth))
    ranges = [score_range(fitted.model, float(mean)) for mean in means]
    held = [
        each is not None and each.lower < share < each.upper
        for each, share in zip(ranges, shares, strict=True)
    ]
    assert len(held) == SLICES
    assert np.mean(held) >= 0.9
    widths = [each.upper - each.lower for each in ranges if each is not None]
    assert max(widths) < 0.12
    assert all(
        each is not None and each.lower < mean < each.upper for each, mean in zip(ranges, means, strict=True)
    )


def test_merchants_never_visited_are_told_apart(market: AffinityWorld, scores: FloatArray) -> None:
    """Among a user's merchants without a visit, those that the user truly likes more score higher."""
    users = market.world.users
    never = (visits(market, (0,)) == 0) & (users.preferences > 0)
    better = scores[never] > np.median(scores[never])
    assert users.preferences[never][better].mean() > 1.15 * users.preferences[never][~better].mean()
    elsewhere = users.preferences == 0
    assert scores[elsewhere].mean() < 0.001


def test_campaigns_shown_convert_more_than_by_rate_or_affinity(
    market: AffinityWorld, fitted: Fitted, scores: FloatArray
) -> None:
    """With rates that are fitted too, less is reached (README.md of the optimizer)."""
    world, told, users = market.world, fitted.model.response, range(market.user_count)
    truth, campaigns = Truth.of(world), range(len(world.campaigns.names))
    rates = np.array(
        [truth.conversion_curve[each, place_of(world.campaigns.current_offer(each))] for each in campaigns]
    )
    within = reachable(world, users, np.flatnonzero(world.campaigns.end_day > DAYS).tolist())
    runs = np.where(world.campaigns.end_day > DAYS, 1.0, np.nan)
    affinity = scores[:, world.campaigns.merchant] * runs
    reached = score_orders(
        {
            "recommended": told.rates(rates, affinity),
            "conversion rate": np.where(within, rates, np.nan),
            "affinity": affinity,
            "affinity x rate": affinity * rates,
        },
        conversion_chances(world, users),
        within,
    )
    for place in (0, 1):
        gains = {name: choices[place].gain for name, choices in reached.items()}
        assert gains["recommended"] >= 0.985
        assert 1.0 - gains["recommended"] < 0.6 * (1.0 - gains["conversion rate"])
        assert gains["recommended"] > gains["affinity x rate"] + 0.04
        assert gains["affinity"] < 0.5
    assert told.views > 100_000
    assert 0.1 < told.exponent < 0.3
    assert told.least_score > 0.01
