"""The tests that hold at every look: simulated from the laws they promise, and checked against sources."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.abtest.domain.contrasts import SMALL_EXPECTED_COUNT, contrast_rates
from services.abtest.domain.decision import TestEvidence, as_strata, count_conversions, decide
from services.abtest.domain.model import DecisionMethod, EpochCounts, TestDesign
from services.abtest.domain.sample_ratio import check_sample_ratio, log_bayes_factor
from services.abtest.domain.sequential import AnytimeEvidence, anytime_evidence, tightest_mixing_precision
from services.abtest.domain.stratified_rates import estimate_log_ratio
from tests.abtest_factories import design, epoch

Counts = NDArray[np.int64]


def gather_anytime_evidence(planned: TestDesign, epochs: list[EpochCounts]) -> AnytimeEvidence | None:
    """What the confidence sequence says of conversions; None while too few could have happened."""
    made = contrast_rates(as_strata(epochs), 1)
    if made.contrast is None or not made.is_ready:
        return None
    return anytime_evidence(
        made.contrast,
        significance_level=planned.significance_level,
        target_sample_size=planned.target_sample_size,
    )


def is_decided(
    conversions: tuple[Counts, Counts], users: tuple[Counts, Counts], *, target: int, level: float
) -> NDArray[np.bool_]:
    """The anytime verdict of many tests at many looks, vectorised; checked against the domain's below."""
    (control, variant), (control_users, variant_users) = conversions, users
    rate = (control + variant) / (control_users + variant_users)
    expected = np.minimum(control_users, variant_users) * np.minimum(rate, 1 - rate)
    p0, p1 = (control + 0.5) / (control_users + 1), (variant + 0.5) / (variant_users + 1)
    pooled = (control + variant + 1) / (control_users + variant_users + 2)
    at_equal_rates = (1 - pooled) / pooled * (1 / (control_users + 1) + 1 / (variant_users + 1))
    own = (1 - p0) / (p0 * (control_users + 1)) + (1 - p1) / (p1 * (variant_users + 1))
    squared_error = np.maximum(own, at_equal_rates)
    unit = (1 - p0) / p0 + (1 - p1) / p1
    x = tightest_mixing_precision(level) * unit / (squared_error * target)
    boundary = (1 + 1 / x) * (np.log1p(x) - 2 * math.log(level))
    decided: NDArray[np.bool_] = (np.log(p1 / p0) ** 2 > squared_error * boundary) & (
        expected >= SMALL_EXPECTED_COUNT
    )
    return decided


def share_ever_decided(
    *,
    rates: tuple[float, float],
    users_per_look: tuple[int, int],
    looks: int,
    target: int,
    level: float = 0.05,
    tests: int = 10_000,
    seed: int = 1,
) -> float:
    generator = np.random.default_rng(seed)
    control, variant = (
        generator.binomial(users, rate, (tests, looks)).cumsum(axis=1)
        for users, rate in zip(users_per_look, rates, strict=True)
    )
    control_users, variant_users = (users * np.arange(1, looks + 1) for users in users_per_look)
    decided = is_decided((control, variant), (control_users, variant_users), target=target, level=level)
    return float(decided.any(axis=1).mean())


def test_the_vectorised_verdict_is_the_domains() -> None:
    generator = np.random.default_rng(7)
    for _ in range(300):
        users = generator.integers(5, 3000, 2)
        counts = generator.binomial(users, generator.choice([0.02, 0.1, 0.6], 2))
        level = float(generator.choice([0.2, 0.05, 0.001]))
        target = int(generator.integers(50, 3000))
        evidence = gather_anytime_evidence(
            design(target_sample_size=target, confidence_level=1 - level),
            [epoch((int(counts[0]), int(users[0])), (int(counts[1]), int(users[1])))],
        )
        ours = evidence is not None and evidence.p_value < level
        assert ours == bool(
            is_decided((counts[0], counts[1]), (users[0], users[1]), target=target, level=level)
        )


# Issue: A/A tests may be wrong at most 5 % of the time however often one looks.
@pytest.mark.parametrize(
    ("rate", "users_per_look", "looks", "target"),
    [
        (0.10, (36, 36), 28, 1000),
        (0.10, (500, 500), 28, 14_000),
        (0.05, (20, 20), 100, 2000),
        (0.05, (20, 20), 100, 200),
        (0.50, (2, 18), 200, 400),
        (0.90, (18, 2), 200, 400),
        (0.50, (1, 100), 300, 300),
        (0.005, (1, 100), 300, 30),
    ],
)
def test_anytime_verdicts_keep_their_level_at_every_look(
    rate: float, users_per_look: tuple[int, int], looks: int, target: int
) -> None:
    wrong = share_ever_decided(rates=(rate, rate), users_per_look=users_per_look, looks=looks, target=target)
    assert wrong <= 0.05


@pytest.mark.parametrize("level", [0.20, 0.10, 0.01, 0.001])
def test_anytime_verdicts_keep_every_level(level: float) -> None:
    for users in (1, 10):
        wrong = share_ever_decided(
            rates=(0.5, 0.5), users_per_look=(users, users), looks=300, target=300 * users, level=level
        )
        # 99.9 % binomial band above the level, for 10,000 tests.
        assert wrong <= level + 3.29 * math.sqrt(level * (1 - level) / 10_000)


# With the groups' own variances alone, these are wrong 1.2 to 2.2 times (at 0.01) and 2.8 to 8.4 times
# (at 0.001) as often as allowed.
@pytest.mark.parametrize("level", [0.05, 0.01, 0.001])
@pytest.mark.parametrize(
    ("rate", "users_per_look", "target"),
    [(0.90, (396, 4), 300), (0.97, (1287, 13), 1000), (0.50, (9, 1), 100), (0.30, (1, 99), 100)],
)
def test_lopsided_splits_keep_strict_levels(
    rate: float, users_per_look: tuple[int, int], target: int, level: float
) -> None:
    wrong = share_ever_decided(
        rates=(rate, rate), users_per_look=users_per_look, looks=250, target=target, level=level
    )
    assert wrong <= level + 3.29 * math.sqrt(level * (1 - level) / 10_000)


def test_anytime_verdicts_have_the_power_they_promise() -> None:
    found = share_ever_decided(
        rates=(0.10, 0.11), users_per_look=(500, 500), looks=28, target=14_000, tests=20_000
    )
    assert found >= 0.46


def test_cookie_cats_sizes_warn_and_do_not_alarm() -> None:
    check = check_sample_ratio([epoch((0, 44_700), (0, 45_489))])
    assert check is not None
    assert round(check.fixed_p_value, 6) == 0.008608
    assert check.warns
    assert not check.alarms


def test_the_bayes_factor_is_a_beta_binomial_over_a_binomial() -> None:
    # For two groups the Dirichlet-multinomial is scipy's betabinom, with concentration 20 by the weights.
    for users, weights in (((30, 0), (0.5, 0.5)), ((480, 520), (0.5, 0.5)), ((95, 5), (0.9, 0.1))):
        total = sum(users)
        expected = stats.betabinom.logpmf(
            users[0], total, 20 * weights[0], 20 * weights[1]
        ) - stats.binom.logpmf(users[0], total, weights[0])
        assert log_bayes_factor(users, weights) == pytest.approx(float(expected), rel=1e-9)


def sequential_alarms(share: float, *, per_look: int, looks: int, tests: int) -> NDArray[np.bool_]:
    """Whether each test alarms at each look; the first group truly gets `share`."""
    generator = np.random.default_rng(11)
    first = generator.binomial(per_look, share, (tests, looks)).cumsum(axis=1)
    total = per_look * np.arange(1, looks + 1)
    log_e = stats.betabinom.logpmf(first, total, 10, 10) - stats.binom.logpmf(first, total, 0.5)
    return np.asarray(log_e) > math.log(1000)


def test_the_sequential_check_is_quiet_on_a_correct_split_and_finds_a_wrong_one() -> None:
    quiet = sequential_alarms(0.5, per_look=1000, looks=28, tests=10_000)
    # At most 0.1 %, by the 99.9 % binomial band of 10,000 tests.
    assert quiet.any(axis=1).mean() <= 0.001 + 3.29 * math.sqrt(0.001 * 0.999 / 10_000)
    loud = sequential_alarms(0.48, per_look=1000, looks=28, tests=2000)
    assert loud[:, -1].mean() >= 0.95


def test_an_empty_group_alarms_soon() -> None:
    check = check_sample_ratio([epoch((0, 30), (0, 0))])
    assert check is not None
    assert check.alarms


def test_checks_add_up_over_epochs_each_by_its_own_weights() -> None:
    first = epoch((0, 900), (0, 100), number=1, weights=(0.9, 0.1))
    second = epoch((0, 500), (0, 500), number=2)
    check = check_sample_ratio([first, second])
    assert check is not None
    assert check.fixed_p_value == 1.0
    assert not check.alarms
    mixed = check_sample_ratio([epoch((0, 930), (0, 70), weights=(0.9, 0.1)), second])
    assert mixed is not None
    statistic = stats.chisquare([930, 70], [900, 100]).statistic
    assert mixed.fixed_p_value == pytest.approx(float(stats.chi2.sf(statistic, 2)), rel=1e-9)
    assert check_sample_ratio([]) is None
    assert check_sample_ratio([epoch((0, 0), (0, 0))]) is None


def drifting_weeks(tests: int, seed: int) -> tuple[list[tuple[int, int]], list[Counts]]:
    """A week at 10/90 and 8 %, a week at 50/50 and 10 %, 10,000 users each, no effect."""
    generator = np.random.default_rng(seed)
    users = [(9000, 1000), (5000, 5000)]
    return users, [
        generator.binomial(pair, rate, (tests, 2)) for pair, rate in zip(users, (0.08, 0.10), strict=True)
    ]


def test_drifting_epochs_fool_the_pooled_test() -> None:
    _, weeks = drifting_weeks(10_000, seed=9)
    control, variant = (weeks[0] + weeks[1]).T
    converted = control + variant
    statistic = 20_000 * (14_000.0 * variant - 6000.0 * control) ** 2
    statistic /= 14_000.0 * 6000.0 * converted * (20_000.0 - converted)
    wrong = (statistic > stats.chi2.isf(0.05, 1)).mean()
    # Issue: the pooled chi-squared is wrong 58 % of the time; 99.9 % band of 10,000 tests.
    assert wrong == pytest.approx(0.58, abs=3.29 * math.sqrt(0.58 * 0.42 / 10_000))


@pytest.mark.parametrize("method", list(DecisionMethod))
def test_drifting_epochs_do_not_fool_the_verdict(method: DecisionMethod) -> None:
    tests = 1000
    users, weeks = drifting_weeks(tests, seed=10)
    planned = design(target_sample_size=6000, decision_method=method)
    wrong = 0
    for test in range(tests):
        epochs = [
            epoch(
                (int(week[test, 0]), sizes[0]),
                (int(week[test, 1]), sizes[1]),
                number=number,
                weights=weights,
            )
            for number, (week, sizes, weights) in enumerate(
                zip(weeks, users, ((0.9, 0.1), (0.5, 0.5)), strict=True), start=1
            )
        ]
        evidence = TestEvidence(metrics=(count_conversions(epochs),), users=(14_000, 6000), ended=True)
        wrong += decide(planned, evidence).winner is not None
    assert wrong / tests <= 0.05 + 3.29 * math.sqrt(0.05 * 0.95 / tests)


def test_an_epoch_with_few_users_in_a_group_does_not_break_the_level() -> None:
    # 10 % at 50/50, then 20 % at 99/1, no effect, a look at each step. With epochs weighted by their users
    # far more than the allowed 5 % of such tests name a winner at some look.
    generator = np.random.default_rng(21)
    tests, wrong = 400, 0
    for _ in range(tests):
        even = generator.binomial(2000, 0.10, 2)
        first = epoch((int(even[0]), 2000), (int(even[1]), 2000))
        steps = generator.binomial([[99], [1]], 0.20, (2, 40)).cumsum(axis=1)
        wrong += any(
            evidence is not None and evidence.p_value < 0.05
            for look in range(40)
            for evidence in [
                gather_anytime_evidence(
                    design(target_sample_size=500),
                    [
                        first,
                        epoch(
                            (int(steps[0, look]), 99 * (look + 1)),
                            (int(steps[1, look]), look + 1),
                            number=2,
                            weights=(0.99, 0.01),
                        ),
                    ],
                )
            ]
        )
    assert wrong <= 0.05 * tests


def test_the_stratified_estimate_is_mantel_and_haenszels() -> None:
    # statsmodels.stats.contingency_tables.StratifiedTable(...).riskratio_pooled
    # of these counts.
    tables = (((1000, 10_000), (1150, 10_000)), ((20_000, 100_000), (2150, 10_000)))
    epochs = [
        epoch(control, variant, number=index) for index, (control, variant) in enumerate(tables, start=1)
    ]
    log_ratio = estimate_log_ratio(epochs, 1)
    assert log_ratio is not None
    assert math.exp(log_ratio.point_estimate) == pytest.approx(1.0911764705882354, rel=1e-4)
