"""Segments' uplifts, by tests and by drawn offers, against numbers worked by hand and simulated truths."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from services.optimizer.domain.offers.answer import Interval
from services.optimizer.domain.response.decision_table import DecisionTable
from services.optimizer.domain.response.drawn_offers import find_sides
from services.optimizer.domain.segments.uplift import (
    OfferMoments,
    SegmentCell,
    VariantOfTest,
    uplift_by_offers,
    uplift_by_test,
)
from tests.unit.optimizer.drawn_log import add_up, group_draws, uplifts

VARIANT = VariantOfTest(
    test_id="t",
    name="v",
    control_campaign_id="plain",
    started_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
    ended_at=None,
)


def covers(interval: Interval, truth: float) -> bool:
    return interval.lower <= truth <= interval.upper


def test_uplift_is_averaged_over_tests_and_epochs_by_hand() -> None:
    # Differences 0.1 and 0.3 with weights 100 x 100 / 200 = 50 and 300 x 100 / 400 = 75.
    cells = [
        SegmentCell(variant=VARIANT, epoch=1, segment_set=1, is_control=False, users=100, converting=20),
        SegmentCell(variant=VARIANT, epoch=1, segment_set=1, is_control=True, users=100, converting=10),
        SegmentCell(variant=VARIANT, epoch=2, segment_set=2, is_control=False, users=300, converting=120),
        SegmentCell(variant=VARIANT, epoch=2, segment_set=1, is_control=True, users=100, converting=10),
        SegmentCell(variant=VARIANT, epoch=2, segment_set=None, is_control=True, users=900, converting=900),
    ]
    uplift = uplift_by_test(cells, {1: ("loyal",), 2: ("loyal", "city")})
    assert uplift["loyal"].value == pytest.approx((50 * 0.1 + 75 * 0.3) / 125)
    assert (uplift["loyal"].treated_users, uplift["loyal"].control_users) == (400, 200)
    assert uplift["loyal"].variants == (VARIANT,)
    assert "city" not in uplift  # nobody of it is a control


@pytest.mark.parametrize(
    ("treated", "control", "is_given"), [(0, 0, False), (60, 4, False), (4, 60, False), (5, 5, True)]
)
def test_a_test_that_fewer_than_five_converted_in_on_a_side_gives_no_uplift(
    treated: int, control: int, is_given: bool
) -> None:
    sides = ((False, 225, treated), (True, 175, control))
    cells = [
        SegmentCell(
            variant=VARIANT, epoch=1, segment_set=1, is_control=is_control, users=users, converting=converting
        )
        for is_control, users, converting in sides
    ]
    assert ("loyal" in uplift_by_test(cells, {1: ("loyal",)})) is is_given


def test_conversions_of_a_small_stratum_count_as_far_as_they_weigh() -> None:
    """A control user is worth 0.909 in the first stratum, where four converted, and 0.5 in the second.

    Weights 1000 x 100 / 1100 and 100 x 100 / 200, by 100 control users each: (4 x 0.909 + 2 x 0.5)^2 /
    (4 x 0.909^2 + 2 x 0.5^2) = 5.66; with one in the second 4.83.
    """
    for in_second, is_given in ((2, True), (1, False)):
        cells = [
            SegmentCell(
                variant=VARIANT,
                epoch=epoch,
                segment_set=1,
                is_control=is_control,
                users=users,
                converting=converting,
            )
            for epoch, is_control, users, converting in (
                *((1, False, 1000, 50), (1, True, 100, 4)),
                *((2, False, 100, 50), (2, True, 100, in_second)),
            )
        ]
        assert ("loyal" in uplift_by_test(cells, {1: ("loyal",)})) is is_given


def test_uplift_of_tests_covers_its_truth_nine_times_in_ten() -> None:
    rng = np.random.default_rng(20262)
    weights, rates, effect = [(400, 400), (600, 200)], [0.03, 0.06], 0.025
    hits = 0
    for _ in range(2000):
        cells = []
        for epoch, ((treated, control), rate) in enumerate(zip(weights, rates, strict=True)):
            for is_control, users, share in ((False, treated, rate + effect), (True, control, rate)):
                cells.append(
                    SegmentCell(
                        variant=VARIANT,
                        epoch=epoch,
                        segment_set=1,
                        is_control=is_control,
                        users=users,
                        converting=int(rng.binomial(users, share)),
                    )
                )
        hits += covers(uplift_by_test(cells, {1: ("loyal",)})["loyal"].interval, effect)
    assert hits / 2000 == pytest.approx(0.9, abs=0.025)


def test_the_error_of_a_contrast_is_that_of_users_deviations() -> None:
    # By hand: each user's d is (y - m x) / sum(x) on the high side less the same on the low one.
    rng = np.random.default_rng(5)
    high_x, low_x = rng.integers(0, 4, 200).astype(float), 2.0 * rng.integers(0, 3, 200)
    high_y, low_y = (
        rng.binomial(high_x.astype(int), 0.4) * 1.0,
        2.0 * rng.binomial((low_x / 2).astype(int), 0.2),
    )
    high, low = high_y.sum() / high_x.sum(), low_y.sum() / low_x.sum()
    deviations = (high_y - high * high_x) / high_x.sum() - (low_y - low * low_x) / low_x.sum()
    sums = {
        f"{side}_{name}": float(value.sum())
        for side, x, y in (("high", high_x, high_y), ("low", low_x, low_y))
        for name, value in (("x", x), ("y", y), ("xx", x * x), ("xy", x * y), ("yy", y * y))
    }
    crossed = {
        f"cross_{name}": float(a @ b)
        for name, a, b in (
            *(("xx", high_x, low_x), ("xy", high_x, low_y)),
            *(("yx", high_y, low_x), ("yy", high_y, low_y)),
        )
    }
    moments = OfferMoments(segment_name="loyal", high_users=150, low_users=120, **sums, **crossed)
    uplift = uplift_by_offers([moments])["loyal"]
    assert uplift.value == pytest.approx(high - low)
    half = 1.6448536 * np.sqrt(np.sum(deviations**2))
    assert uplift.interval.upper - uplift.value == pytest.approx(half, rel=1e-6)
    assert (uplift.treated_users, uplift.control_users) == (150, 120)


def drawn(rng: np.random.Generator, users: int) -> DecisionTable:
    """Three deliveries a user; 5, 10 or 20 drawn by 1/2, 1/4, 1/4; 20 adds 0.2 for loyal users, else .05."""
    count = users * 3
    user = np.repeat(np.arange(users), 3)
    arm = rng.choice(3, count, p=[0.5, 0.25, 0.25])
    loyal = user % 2 == 0
    taste = np.repeat(rng.uniform(0, 0.2, users), 3)
    rate = 0.1 + taste + np.where(loyal, 0.2, 0.05) * (arm == 2)
    return DecisionTable(
        user=user,
        campaign=np.zeros(count, dtype=np.intp),
        version=np.zeros(count, dtype=np.intp),
        day=(np.arange(count) % 3).astype(np.int64),
        weekday=np.zeros(count, dtype=np.intp),
        hour=np.full(count, 9, dtype=np.intp),
        segment_set=np.where(loyal, 1, 2).astype(np.int64),
        offer_micros=(np.array([5, 10, 20])[arm] * 1_000_000).astype(np.int64),
        propensity=np.array([0.5, 0.25, 0.25])[arm],
        conversions=(rng.random(count) < rate).astype(np.int64),
        revenue_micros=np.zeros(count, dtype=np.int64),
    )


def test_uplift_of_drawn_offers_covers_its_truth_nine_times_in_ten() -> None:
    rng = np.random.default_rng(20263)
    segments = {1: ("loyal",), 2: ("lapsed",)}
    found = [uplifts(drawn(rng, 600), segments) for _ in range(400)]
    hits = [[covers(each["loyal"].interval, 0.2), covers(each["lapsed"].interval, 0.05)] for each in found]
    assert np.mean(hits, axis=0) == pytest.approx([0.9, 0.9], abs=0.045)
    assert np.mean([each["loyal"].value for each in found]) == pytest.approx(0.2, abs=0.01)
    assert np.mean([each["lapsed"].value for each in found]) == pytest.approx(0.05, abs=0.01)


def drawn_on_small_days(
    rng: np.random.Generator, chances: list[float], moved: NDArray[np.int64]
) -> DecisionTable:
    """150 days of 2 to 7 deliveries that convert at 0.3, 10 days of 150 at 0.1, whatever the offer.

    Offers are 10, 15 and 20, and 10 times the day's number in `moved` higher.
    """
    sizes = np.concatenate((rng.integers(2, 8, 150), np.full(10, 150)))
    day = np.repeat(np.arange(160), sizes)
    count = len(day)
    arm = rng.choice(3, count, p=chances)
    return DecisionTable(
        user=rng.integers(0, count, count),
        campaign=np.zeros(count, dtype=np.intp),
        version=np.zeros(count, dtype=np.intp),
        day=day.astype(np.int64),
        weekday=np.zeros(count, dtype=np.intp),
        hour=np.full(count, 9, dtype=np.intp),
        segment_set=np.ones(count, dtype=np.int64),
        offer_micros=(np.array([10, 15, 20])[arm] + 10 * moved[day]) * 1_000_000,
        propensity=np.array(chances)[arm],
        conversions=(rng.random(count) < np.where(day < 150, 0.3, 0.1)).astype(np.int64),
        revenue_micros=np.zeros(count, dtype=np.int64),
    )


@pytest.mark.parametrize("chances", [[0.6, 0.3, 0.1], [0.25, 0.5, 0.25], [0.8, 0.15, 0.05]])
@pytest.mark.parametrize("steps", [1, 2])
def test_small_days_make_no_uplift(chances: list[float], steps: int) -> None:
    # Nothing adds anything: a twentieth of lower ends are above 0, nine tenths of intervals hold 0. With two
    # steps the days' offers move by turns, so that those with even chances are not told apart by a day.
    rng = np.random.default_rng(20265)
    found = [
        uplifts(drawn_on_small_days(rng, chances, np.arange(160) % steps), {1: ("loyal",)})["loyal"]
        for _ in range(300)
    ]
    assert np.mean([each.value for each in found]) == pytest.approx(0.0, abs=0.01)
    assert np.mean([each.interval.lower > 0.0 for each in found]) < 0.085
    assert np.mean([covers(each.interval, 0.0) for each in found]) == pytest.approx(0.9, abs=0.045)


def test_a_side_on_which_nobody_converted_gives_no_uplift() -> None:
    log = drawn(np.random.default_rng(1), 600)
    lowest = log.offer_micros == log.offer_micros.min()
    silent = replace(log, conversions=np.where(lowest, 0, log.conversions))
    segments = {1: ("loyal",), 2: ("lapsed",)}
    assert set(uplifts(log, segments)) == {"loyal", "lapsed"}
    assert uplifts(silent, segments) == {}


@pytest.mark.parametrize(("rate", "least"), [(0.004, 0.85), (0.012, 0.87)])
def test_few_conversions_on_a_side_give_no_uplift_or_one_that_holds(rate: float, least: float) -> None:
    # Nothing adds anything; 1,200 users, a fifth of whose three deliveries are on the low side.
    rng = np.random.default_rng(20266)
    segments, held, few = {1: ("loyal",)}, [], 0
    for _ in range(300):
        count = 3_600
        log = replace(drawn(rng, 1_200), segment_set=np.ones(count, dtype=np.int64))
        log = replace(log, conversions=(rng.random(count) < rate).astype(np.int64))
        (moments,) = add_up(log, segments, find_sides(group_draws(log)))
        found = uplift_by_offers([moments])
        fewest = min(
            moments.high_y**2 / max(moments.high_yy, 1.0), moments.low_y**2 / max(moments.low_yy, 1.0)
        )
        few += fewest < 5.0
        assert ("loyal" in found) == (fewest >= 5.0)
        held += [covers(each.interval, 0.0) for each in found.values()]
    assert np.mean(held) > least
    assert (few > 100) == (rate < 0.01)


def test_too_few_users_give_no_uplift() -> None:
    segments = {1: ("loyal",), 2: ("lapsed",)}
    assert uplifts(drawn(np.random.default_rng(1), 60), segments) == {}
