"""What simulated tests show: error rates, power and duration, each with how exactly it is known."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import Interval, normal_quantile, wilson_interval
from services.abtest.domain.simulated_counts import Floats
from services.abtest.domain.simulation import SimulatedTests, Simulation, SimulationDesign

_LEVEL = 0.95
_WANTED_POWER = 0.8
_EXAGGERATION = 1.25
_PERCENTILES = (10.0, 50.0, 90.0)


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of simulated tests, with its Wilson interval at 95 % confidence."""

    count: int
    share: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long simulated tests took: the mean with its interval at 95 % confidence, and quantiles."""

    expected: float
    expected_interval: Interval
    tenth_percentile: float
    median: float
    ninetieth_percentile: float


@dataclass(frozen=True, kw_only=True)
class LookSummary:
    """Where simulated tests stood at a look: users of all groups, and shares of tests by then."""

    number: int
    users: int
    winner_named: float
    over: float


@dataclass(frozen=True, kw_only=True)
class OutcomeSummary:
    """What became of simulated tests.

    `best_named` and `worse_named` (a group with a lower true rate than another) are None without an effect,
    `days` without users per day, and `mean_lift_of_winners` where no variant won.
    """

    winner_named: Share
    best_named: Share | None
    worse_named: Share | None
    undecided: Share
    invalid: Share
    users: Duration
    days: Duration | None
    mean_lift_of_winners: float | None
    by_look: tuple[LookSummary, ...]


@dataclass(frozen=True, kw_only=True)
class SimulationSummary:
    """All that a simulation says; `with_effect` is None where there is none."""

    design: SimulationDesign
    without_effect: OutcomeSummary
    with_effect: OutcomeSummary | None
    warnings: tuple[str, ...]


def summarize(simulation: Simulation) -> SimulationSummary:
    """Return what simulated tests show."""
    design = simulation.design
    without = _summarize_tests(design, simulation.without_effect, has_effect=False)
    effect = simulation.with_effect
    with_effect = None if effect is None else _summarize_tests(design, effect, has_effect=True)
    return SimulationSummary(
        design=design,
        without_effect=without,
        with_effect=with_effect,
        warnings=tuple(_warn(design, without, with_effect)),
    )


def _summarize_tests(design: SimulationDesign, tests: SimulatedTests, *, has_effect: bool) -> OutcomeSummary:
    rates = np.asarray(design.rates)
    named = tests.winners >= 0
    is_best = np.isclose(rates, rates.max(), rtol=1e-12, atol=0.0)
    named_best = named & is_best[tests.winners]
    lifts = tests.lifts[np.isfinite(tests.lifts)]
    days = None if design.users_per_day is None else _duration(tests.users / design.users_per_day)
    return OutcomeSummary(
        winner_named=_share(named),
        best_named=_share(named_best) if has_effect else None,
        worse_named=_share(named & ~named_best) if has_effect else None,
        undecided=_share(~named & ~tests.invalid),
        invalid=_share(tests.invalid),
        users=_duration(tests.users.astype(np.float64)),
        days=days,
        mean_lift_of_winners=float(lifts.mean()) if lifts.size else None,
        by_look=tuple(
            LookSummary(
                number=look + 1,
                users=users,
                winner_named=float((named & (tests.over_at <= look)).mean()),
                over=float((tests.over_at <= look).mean()),
            )
            for look, users in enumerate(design.look_users)
        ),
    )


def _share(flags: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Share:
    counts = GroupCounts(users=flags.size, conversions=int(flags.sum()))
    return Share(
        count=counts.conversions,
        share=counts.conversions / counts.users,
        interval=wilson_interval(counts, _LEVEL),
    )


def _duration(values: Floats) -> Duration:
    mean = float(values.mean())
    radius = normal_quantile(_LEVEL) * float(values.std(ddof=1)) / math.sqrt(values.size)
    tenth, median, ninetieth = np.percentile(values, _PERCENTILES).tolist()
    return Duration(
        expected=mean,
        expected_interval=Interval(lower=mean - radius, upper=mean + radius),
        tenth_percentile=tenth,
        median=median,
        ninetieth_percentile=ninetieth,
    )


def _warn(
    design: SimulationDesign, without: OutcomeSummary, with_effect: OutcomeSummary | None
) -> Iterator[str]:
    level = design.test.significance_level
    if without.winner_named.interval.lower > level:
        yield (
            f"without an effect a winner is named in {100 * without.winner_named.share:.2f} % of tests, "
            f"more than the {100 * level:g} % that the confidence level allows: so few users convert that no "
            "approximation holds"
        )
    if with_effect is None or with_effect.best_named is None:
        return
    power = with_effect.best_named
    if power.interval.upper < _WANTED_POWER:
        yield (
            f"the best group is found in only {100 * power.share:.0f} % of tests: plan more users, or for a "
            "larger effect"
        )
    seen, wanted = with_effect.mean_lift_of_winners, max(design.relative_lifts)
    if seen is not None and wanted > 0.0 and seen > _EXAGGERATION * wanted:
        yield (
            f"the lifts of winners look {100 * (seen / wanted - 1.0):.0f} % larger than they are, because "
            "only large ones win"
        )
