"""Paths, rules and exact sums, over any world (hypothesis) and against a plain reading of the definitions."""

from collections import defaultdict
from datetime import date
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.attribution import HALF_LIFE_MICROS, MICRO, MODELS, RULES, allocate
from services.analytics.domain.attribution_months import (
    find_stale_months,
    is_countable,
    last_day_of,
    list_months,
    month_after,
)
from services.analytics.domain.credits import GROUPS, MonthCredits, MonthLedger
from services.analytics.domain.journeys import Moments, find_paths, find_vain_touches, list_steps

DAY = 24 * 3600 * MICRO
LOOKBACK = 3 * DAY
CAMPAIGNS = 4


class Moment(NamedTuple):
    """A touch, or a conversion with its revenue; campaign 0 is none."""

    user: int
    micros: int
    is_conversion: bool
    campaign: int
    revenue: int


moments_strategy = st.lists(
    st.builds(
        lambda user, time, converts, campaign, revenue: Moment(
            user, time, converts, campaign if converts else max(campaign, 1), revenue if converts else 0
        ),
        st.integers(0, 5),
        st.integers(0, 12 * 4).map(lambda quarter: quarter * DAY // 4),
        st.booleans(),
        st.integers(0, CAMPAIGNS),
        st.integers(0, 2**40),
    ),
    max_size=40,
).map(sorted)


def to_moments(world: list[Moment]) -> Moments:
    def column(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    return Moments(
        users=column([m.user for m in world]),
        groups=column([m.user % GROUPS for m in world]),
        campaigns=column([m.campaign for m in world]),
        is_conversion=np.array([m.is_conversion for m in world], dtype=np.bool_),
        days=column([m.micros // DAY for m in world]),
        micros=column([m.micros for m in world]),
        revenue=column([m.revenue for m in world]),
    )


def read_paths(world: list[Moment]) -> list[tuple[Moment, list[Moment]]]:
    """The definition, read plainly: each conversion with what was touched in its window, itself if direct."""
    paths = []
    for conversion in (m for m in world if m.is_conversion):
        touches = [
            m
            for m in world
            if m.user == conversion.user
            and not m.is_conversion
            and 0 <= conversion.micros - m.micros <= LOOKBACK
        ]
        if conversion.campaign and conversion.campaign not in {m.campaign for m in touches}:
            touches.append(conversion)
        if touches:
            paths.append((conversion, touches))
    return paths


def count_month(world: list[Moment], first_day: int = 3, last_day: int = 9) -> MonthCredits:
    ledger = MonthLedger(
        campaigns=CAMPAIGNS, first_day=first_day, last_day=last_day, lookback_micros=LOOKBACK
    )
    for user in sorted({m.user for m in world}):
        ledger.add(to_moments([m for m in world if m.user == user]))
    return ledger.close()


@given(moments_strategy)
def test_paths_are_what_their_definition_says(world: list[Moment]) -> None:
    expected = [(c, t) for c, t in read_paths(world) if 3 <= c.micros // DAY <= 9]
    paths = find_paths(to_moments(world), LOOKBACK, 3, 9)
    assert paths.lengths.tolist() == [len(touches) for _, touches in expected]
    assert paths.campaigns.tolist() == [m.campaign for _, touches in expected for m in touches]
    assert paths.ages.tolist() == [c.micros - m.micros for c, touches in expected for m in touches]
    assert paths.conversions.revenue.tolist() == [c.revenue for c, _ in expected]
    assert paths.is_direct.tolist() == [touches[-1] is c for c, touches in expected]


@given(moments_strategy)
def test_vain_touches_are_those_that_no_conversion_follows(world: list[Moment]) -> None:
    expected = [
        m
        for m in world
        if not m.is_conversion
        and 3 <= m.micros // DAY <= 9
        and not any(
            c.is_conversion and c.user == m.user and 0 <= c.micros - m.micros <= LOOKBACK for c in world
        )
    ]
    vain = find_vain_touches(to_moments(world), LOOKBACK, 3, 9)
    assert list(zip(vain.users.tolist(), vain.micros.tolist(), vain.campaigns.tolist(), strict=True)) == [
        (m.user, m.micros, m.campaign) for m in expected
    ]


@settings(max_examples=150)
@given(moments_strategy)
def test_every_model_sums_exactly_to_conversions_and_revenue(world: list[Moment]) -> None:
    month = count_month(world)
    paths = [(c, t) for c, t in read_paths(world) if 3 <= c.micros // DAY <= 9]
    assert month.conversions.sum() == len(paths)
    assert month.revenue.sum() == sum(c.revenue for c, _ in paths)
    assert month.touched_purchases.sum() == sum(c.campaign == 0 for c, _ in paths)
    assert month.direct_conversions.sum() == sum(c is t[-1] for c, t in paths)
    assert set(month.models) == set(MODELS)
    for credit in month.models.values():
        assert credit.microconversions.sum(axis=1).tolist() == (month.conversions * MICRO).tolist()
        assert credit.revenue.sum(axis=1).tolist() == month.revenue.tolist()
        assert (credit.microconversions >= 0).all()
        assert (credit.revenue >= 0).all()
    own = [c for c, _ in paths if c.campaign]
    assert month.counted.microconversions.sum() == len(own) * MICRO
    assert month.counted.revenue.sum() == sum(c.revenue for c in own)


def share_plainly(model: str, path: list[Moment], conversion: Moment) -> list[float]:
    n = len(path)
    if model == "first_touch":
        return [1.0] + [0.0] * (n - 1)
    if model == "last_touch":
        return [0.0] * (n - 1) + [1.0]
    if model == "linear":
        return [1 / n] * n
    if model == "time_decay":
        weights = [2 ** (-(conversion.micros - m.micros) / HALF_LIFE_MICROS) for m in path]
        return [weight / sum(weights) for weight in weights]
    if n <= 2:
        return [1 / n] * n
    return [0.4, *[0.2 / (n - 2)] * (n - 2), 0.4]


@given(moments_strategy)
def test_rules_divide_as_they_are_defined(world: list[Moment]) -> None:
    month = count_month(world)
    for model in RULES:
        expected: defaultdict[tuple[int, int], float] = defaultdict(float)
        for conversion, path in read_paths(world):
            day = conversion.micros // DAY
            if 3 <= day <= 9:
                for touch, share in zip(path, share_plainly(model, path, conversion), strict=True):
                    expected[day - 3, touch.campaign - 1] += share
        credit = month.models[model].microconversions / MICRO
        for (day, campaign), value in expected.items():
            assert credit[day, campaign] == pytest.approx(value, abs=1e-4), model


@given(moments_strategy)
def test_credits_without_a_group_are_credits_of_the_others(world: list[Moment]) -> None:
    whole, others = count_month(world), count_month([m for m in world if m.user != 2])
    assert whole.conversions_without_group[:, 2].tolist() == others.conversions.tolist()
    for model in MODELS:
        without = whole.models[model].without_group
        if without is None:  # no conversion at all, so no shares
            assert whole.conversions.sum() == 0
            continue
        rounding = 40 if model == "markov" else 0
        assert without[:, :, 2] == pytest.approx(others.models[model].microconversions, abs=rounding + 1)


def test_campaigns_that_change_places_get_the_same_credit() -> None:
    """Users of even numbers see 1 before 2, the others 2 before 1: alike to one micro-conversion."""
    world = sorted(
        m
        for user in range(10)
        for m in (
            Moment(user, 4 * DAY, False, 1 + user % 2, 0),
            Moment(user, 5 * DAY, False, 2 - user % 2, 0),
            Moment(user, 6 * DAY, True, 3, 7_000_001),
        )
    )
    for model, credit in count_month(world).models.items():
        both = credit.microconversions.sum(axis=0)
        money = credit.revenue.sum(axis=0)
        rounding = 10 if model in {"linear", "time_decay"} else 1  # one per conversion, one per day
        assert abs(both[0] - both[1]) <= rounding, model
        assert abs(money[0] - money[1]) <= 10, model


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**62),
            st.lists(st.integers(0, 2**27), min_size=1, max_size=12).filter(lambda w: sum(w) > 0),
        ),
        max_size=8,
    )
)
def test_allocation_is_exact_and_never_further_off_than_one(cases: list[tuple[int, list[int]]]) -> None:
    totals = np.array([total for total, _ in cases], dtype=np.int64)
    weights = np.array([weight for _, w in cases for weight in w], dtype=np.int64)
    lengths = np.array([len(w) for _, w in cases], dtype=np.int64)
    parts = allocate(totals, weights, lengths).tolist()
    for total, given_weights in cases:
        own, parts = parts[: len(given_weights)], parts[len(given_weights) :]
        assert sum(own) == total
        for part, weight in zip(own, given_weights, strict=True):
            quota = Fraction(total * weight, sum(given_weights))
            assert abs(part - quota) < 1
            assert part == 0 or weight > 0


def test_the_largest_remainder_gets_what_is_left_and_the_first_of_equals() -> None:
    ten, thirds = np.array([10]), np.array([1, 1, 1])
    assert allocate(ten, thirds, np.array([3])).tolist() == [4, 3, 3]
    assert allocate(ten, np.array([3, 3, 1]), np.array([3])).tolist() == [4, 4, 2]


def test_steps_from_a_campaign_to_itself_are_left_out() -> None:
    group, origin, target = list_steps(np.array([1, 1, 2, 2]), np.array([3, 1]), np.array([7, 8]), end=5)
    assert sorted(zip(group.tolist(), origin.tolist(), target.tolist(), strict=True)) == [
        (7, 0, 1),
        (7, 1, 2),
        (7, 2, 5),
        (8, 0, 2),
        (8, 2, 5),
    ]


def test_months_follow_each_other() -> None:
    assert month_after(date(2026, 12, 1)) == date(2027, 1, 1)
    assert last_day_of(date(2028, 2, 1)) == date(2028, 2, 29)
    assert list(list_months(date(2025, 12, 31), date(2026, 2, 1))) == [
        date(2025, 12, 1),
        date(2026, 1, 1),
        date(2026, 2, 1),
    ]


def test_what_changed_says_which_months_to_count() -> None:
    def stale(**days: list[date]) -> list[str]:
        given_days = {"touch_days": [], "conversion_days": [], "refund_days": [], **days}
        months = find_stale_months(**given_days, lookback_days=30, last_day=date(2026, 6, 15))
        return sorted(month.isoformat()[:7] for month in months)

    assert stale(touch_days=[date(2026, 1, 15)]) == ["2026-01", "2026-02"]
    assert stale(touch_days=[date(2026, 1, 31)]) == ["2026-01", "2026-02", "2026-03"]
    assert stale(touch_days=[date(2026, 6, 15)]) == ["2026-06"], "July holds nothing yet"
    assert stale(conversion_days=[date(2026, 3, 15)]) == ["2026-02", "2026-03"]
    assert stale(refund_days=[date(2026, 3, 15)]) == ["2026-03"]
    assert stale() == []


@pytest.mark.parametrize(
    ("sealed", "was_counted", "countable"),
    [
        (None, True, True),
        (date(2026, 1, 28), True, True),
        (date(2026, 1, 29), True, False),
        (date(2026, 1, 29), False, True),
        (date(2026, 2, 28), False, True),
        (date(2026, 3, 1), False, False),
    ],
)
def test_a_month_is_counted_again_while_its_window_is_whole(
    sealed: date | None, was_counted: bool, countable: bool
) -> None:
    march = date(2026, 3, 1)
    assert is_countable(march, was_counted=was_counted, lookback_days=30, sealed_through=sealed) is countable
