"""Looking at a test early and often, and ending it at will, keeps the level of every decision method."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.abtest.domain.assessment import MetricEvidence
from services.abtest.domain.contrasts import SMALL_EXPECTED_COUNT, contrast_metric
from services.abtest.domain.decision import TestEvidence, count_conversions, decide
from services.abtest.domain.looks import Look
from services.abtest.domain.metrics import CONVERSION_RATE, REVENUE, Metric, MetricKind, MetricRole
from services.abtest.domain.model import DecisionMethod, EpochCounts, Group, GroupCounts, TestDesign
from services.abtest.domain.samples import MeanSample, Stratum
from services.abtest.domain.sequential import anytime_boundaries, anytime_boundary
from services.abtest.domain.verdicts import Decision
from tests.abtest_factories import design, epoch

BAND = 3.29  # standard errors of a 99.9 % binomial band
Array = NDArray[np.float64]
Counts = NDArray[np.int64]


def highest_share(level: float, tests: int) -> float:
    return level + BAND * math.sqrt(level * (1 - level) / tests)


def verdicts(
    planned: TestDesign, days: Iterator[tuple[EpochCounts, bool]], *, last_day: int
) -> Iterator[Decision]:
    """What a caller sees who analyses a test on each day and keeps what has to be kept."""
    looks: tuple[Look, ...] = ()
    for day, (counts, matured) in enumerate(days):
        decision = decide(
            planned,
            TestEvidence(
                metrics=(count_conversions([counts]),),
                users=tuple(group.users for group in counts.groups),
                ended=day == last_day,
                matured=matured,
                looks=looks,
            ),
        )
        looks = looks if decision.look is None else (*looks, decision.look)
        yield decision


def daily_counts(conversions: Counts, users: Counts) -> Iterator[tuple[EpochCounts, bool]]:
    for (control, variant), size in zip(conversions.T, users, strict=True):
        yield epoch((int(control), int(size)), (int(variant), int(size))), True


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_a_test_ended_at_the_first_winner_keeps_its_level(method: DecisionMethod) -> None:
    # 28 daily looks of 36 users per arm at 10 %, no effect, ended at the first winner that is named.
    tests, days = 200, 28
    generator = np.random.default_rng(31)
    users = 36 * np.arange(1, days + 1)
    planned = replace(design(target_sample_size=int(users[-1]), decision_method=method), planned_looks=days)
    wrong = chi_squared_wrong = 0
    for _ in range(tests):
        conversions = generator.binomial(36, 0.10, (2, days)).cumsum(axis=1)
        seen = verdicts(planned, daily_counts(conversions, users), last_day=days - 1)
        wrong += any(decision.winner is not None for decision in seen)
        chi_squared_wrong += any_chi_squared(conversions, users)
    assert wrong / tests <= highest_share(0.05, tests)
    # What a tool without a decision method does: the issue has it wrong 27 % of the time.
    assert chi_squared_wrong / tests == pytest.approx(0.27, abs=BAND * math.sqrt(0.27 * 0.73 / tests))


def any_chi_squared(conversions: Counts, users: Counts) -> bool:
    """Whether Pearson's test is significant at any look."""
    return bool((chi_squared(conversions[0], conversions[1], users) > stats.chi2.isf(0.05, 1)).any())


def chi_squared(control: Counts, variant: Counts, users: Counts) -> Array:
    converted = control + variant
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 2 * users * (variant - control) ** 2 / (converted * (2.0 * users - converted))
    return np.asarray(np.nan_to_num(found))


def test_the_peeking_of_a_chi_squared_tool_is_what_the_issue_says() -> None:
    generator = np.random.default_rng(32)
    control, variant = generator.binomial(36, 0.10, (2, 10_000, 28)).cumsum(axis=2)
    found = chi_squared(control, variant, 36 * np.arange(1, 29)) > stats.chi2.isf(0.05, 1)
    assert found.any(axis=1).mean() == pytest.approx(0.27, abs=0.02)


def test_a_fixed_horizon_is_not_fooled_by_looks_while_conversions_mature() -> None:
    # All users are there on day 0, and convert over 20 days; the caller looks on each and stops at a winner.
    tests, days = 400, 20
    generator = np.random.default_rng(33)
    planned = design(decision_method=DecisionMethod.FIXED_HORIZON, target_sample_size=1000)
    wrong = {False: 0, True: 0}
    naive = 0
    users = np.full(days, 1000)
    on_days = [0.01] * days + [1 - 0.01 * days]
    for _ in range(tests):
        conversions = generator.multinomial(1000, on_days, 2)[:, :days].cumsum(axis=1)
        naive += any_chi_squared(conversions, users)
        for has_window in wrong:
            seen = verdicts(
                planned,
                (
                    (counts, not has_window or day == days - 1)
                    for day, (counts, _) in enumerate(daily_counts(conversions, users))
                ),
                last_day=days,
            )
            wrong[has_window] += any(decision.winner is not None for decision in seen)
    assert naive / tests > 0.15
    # Without a window the first look decides, with one the look at its end; either is a single one.
    assert wrong[False] / tests <= highest_share(0.05, tests)
    assert wrong[True] / tests <= highest_share(0.05, tests)


@pytest.mark.parametrize("method", [DecisionMethod.FIXED_HORIZON, DecisionMethod.GROUP_SEQUENTIAL])
def test_ending_while_conversions_mature_buys_no_winner(method: DecisionMethod) -> None:
    # As above, with a window of 20 days: the caller ends the test on the first day whose p-value suits.
    tests, days = 400, 20
    generator = np.random.default_rng(35)
    planned = replace(design(decision_method=method, target_sample_size=1000), planned_looks=1)
    users = np.full(days, 1000)
    on_days = [0.01] * days + [1 - 0.01 * days]
    wrong = naive = 0
    for _ in range(tests):
        conversions = generator.multinomial(1000, on_days, 2)[:, :days].cumsum(axis=1)
        found = chi_squared(conversions[0], conversions[1], users) > stats.chi2.isf(0.05, 1)
        ends = int(found.argmax()) if found.any() else days - 1
        naive += bool(found.any())
        control, variant = conversions[:, ends]
        decision = decide(
            planned,
            TestEvidence(
                metrics=(count_conversions([epoch((int(control), 1000), (int(variant), 1000))]),),
                users=(1000, 1000),
                ended=True,
                matured=ends == days - 1,
            ),
        )
        wrong += decision.winner is not None
    assert naive / tests > 0.15
    assert wrong / tests <= highest_share(0.05, tests)


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_several_variants_name_no_winner_too_often(method: DecisionMethod) -> None:
    # Four variants that are all like control, looked at four times.
    tests, looks = 250, 4
    generator = np.random.default_rng(34)
    groups = tuple(Group(name=f"group_{index}", campaign_id=str(index)) for index in range(5))
    planned = replace(
        design(decision_method=method, target_sample_size=800), groups=groups, planned_looks=looks
    )
    wrong = 0
    for _ in range(tests):
        conversions = generator.binomial(200, 0.15, (5, looks)).cumsum(axis=1)
        taken: tuple[Look, ...] = ()
        found = False
        for look in range(looks):
            size = 200 * (look + 1)
            sample = tuple(GroupCounts(users=size, conversions=int(each)) for each in conversions[:, look])
            decision = decide(
                planned,
                TestEvidence(
                    metrics=(
                        MetricEvidence(metric=CONVERSION_RATE, strata=[Stratum(label="1", groups=sample)]),
                    ),
                    users=(size,) * 5,
                    ended=False,
                    looks=taken,
                ),
            )
            taken = taken if decision.look is None else (*taken, decision.look)
            found |= any(variant.state.name != "UNKNOWN" for variant in decision.variants)
        wrong += found
    assert wrong / tests <= highest_share(0.05, tests)


# Means of amounts that few users have, and those unequal: revenue.

REVENUE_PER_USER = Metric(
    name="revenue_per_user", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE
)


def revenue_sums(
    generator: np.random.Generator, *, buyers: float, per_look: int, shape: tuple[int, int], spread: float
) -> tuple[Array, Array]:
    """Sums and sums of squares at each look, of lognormal amounts that a share of the users has."""
    counts = generator.binomial(per_look, buyers, shape).ravel()
    amounts = np.exp(generator.normal(0.0, spread, counts.sum()))
    cells = np.repeat(np.arange(counts.size), counts)
    sums, squares = (
        np.bincount(cells, weights=weights, minlength=counts.size).reshape(shape).cumsum(axis=1)
        for weights in (amounts, amounts**2)
    )
    return sums, squares


def mean_is_decided(
    sums: tuple[Array, Array], squares: tuple[Array, Array], users: tuple[Counts, Counts], target: int
) -> Callable[[float], NDArray[np.bool_]]:
    """The anytime verdict on means at any level, vectorised; checked against the domain's below."""
    means = [total / size for total, size in zip(sums, users, strict=True)]
    deviations = [square - size * mean**2 for square, size, mean in zip(squares, users, means, strict=True)]
    variances = [each / (size - 1) for each, size in zip(deviations, users, strict=True)]
    own = variances[0] / users[0] + variances[1] / users[1]
    common = (deviations[0] + deviations[1]) / (users[0] + users[1] - 2) * (1 / users[0] + 1 / users[1])
    squared_error = np.maximum(own, common)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(means[1] - means[0]) / np.sqrt(squared_error)
        effective = (variances[0] + variances[1]) / squared_error
        share = np.minimum(*users) / (users[0] + users[1])
        contributors = share * (sums[0] + sums[1]) ** 2 / (squares[0] + squares[1])

    def decided(level: float) -> NDArray[np.bool_]:
        with np.errstate(invalid="ignore", divide="ignore"):
            bounds = anytime_boundaries(effective, significance_level=level, target_sample_size=target)
        return np.asarray((z > bounds) & (contributors >= SMALL_EXPECTED_COUNT))

    return decided


@pytest.mark.parametrize(
    ("buyers", "per_look", "looks", "spread", "target"),
    [
        (0.03, (200, 200), 50, 1.0, 10_000),
        (0.05, (20, 180), 100, 1.0, 2000),
        (0.05, (180, 20), 100, 1.5, 2000),
        (0.30, (2, 198), 100, 1.0, 200),
    ],
)
def test_anytime_verdicts_on_skewed_means_keep_every_level(
    buyers: float, per_look: tuple[int, int], looks: int, spread: float, target: int
) -> None:
    tests = 2000
    generator = np.random.default_rng(35)
    samples = [
        revenue_sums(generator, buyers=buyers, per_look=size, shape=(tests, looks), spread=spread)
        for size in per_look
    ]
    users = tuple(size * np.arange(1, looks + 1) for size in per_look)
    decided = mean_is_decided(
        (samples[0][0], samples[1][0]), (samples[0][1], samples[1][1]), (users[0], users[1]), target
    )
    for level in (0.05, 0.01, 0.001):
        assert decided(level).any(axis=1).mean() <= highest_share(level, tests)


def test_the_vectorised_verdict_on_means_is_the_domains() -> None:
    generator = np.random.default_rng(36)
    for _ in range(200):
        users = generator.integers(30, 3000, 2)
        amounts = [
            np.where(generator.random(size) < 0.2, np.exp(generator.normal(drift, 0.8, size)), 0.0)
            for size, drift in zip(users, (0.0, 0.5), strict=True)
        ]
        sums = tuple(np.array([values.sum()]) for values in amounts)
        squares = tuple(np.array([(values**2).sum()]) for values in amounts)
        sizes = tuple(np.array([size]) for size in users)
        decided = mean_is_decided((sums[0], sums[1]), (squares[0], squares[1]), (sizes[0], sizes[1]), 1000)
        strata = [
            Stratum(label="1", groups=tuple(MeanSample.from_values(values.tolist()) for values in amounts))
        ]
        made = contrast_metric(REVENUE_PER_USER, strata, 1)
        ours = (
            made.is_ready
            and made.contrast is not None
            and abs(made.contrast.standardized())
            > anytime_boundary(made.contrast, significance_level=0.05, target_sample_size=1000)
        )
        assert ours == bool(decided(0.05)[0])
