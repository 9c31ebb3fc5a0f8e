"""Does the effect fade or grow with the time since a user was first exposed?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from services.abtest.domain.estimates import Estimate, combine_effects
from services.abtest.domain.interactions import estimate_log_rate_ratio_within
from services.abtest.domain.model import GroupCounts
from services.abtest.domain.proportions import HypothesisTest
from services.abtest.domain.samples import Stratum

TREND = "weighted_least_squares_trend"
NOVELTY = "novelty"
LEARNING = "learning"
STABLE = "stable"
_FEWEST_PERIODS = 3


@dataclass(frozen=True, kw_only=True)
class PeriodEffect:
    """The effect in the days [first_day, last_day] since exposure; day 0 begins with it."""

    first_day: int
    last_day: int
    effect: Estimate

    @property
    def middle(self) -> float:
        """The middle of the period, in days since exposure."""
        return (self.first_day + self.last_day) / 2.0


@dataclass(frozen=True, kw_only=True)
class NoveltyTrend:
    """How much the effect changes per day since exposure.

    `average` is the effect over all periods, each weighted by what it tells. `pattern` is novelty where the
    effect is on its way to 0 (and may be past it), learning where it moves away, stable without evidence.
    """

    periods: tuple[PeriodEffect, ...]
    average: Estimate
    change_per_day: Estimate
    test: HypothesisTest
    pattern: str


def estimate_trend(periods: Sequence[PeriodEffect], *, significance_level: float) -> NoveltyTrend | None:
    """Return the trend of the effect over the days since exposure.

    None with fewer than three periods. No two are of the same days.

    Periods are taken for independent. First conversions among those who had not converted before are so
    (D. R. Cox 1972, JRSS B 34, 187-220: a user's parts in successive days are uncorrelated); repeated values
    of the same users mostly correlate positively, which makes the test too cautious, not too bold.

    Source: weighted least squares with known variances, as in meta-regression: S. G. Thompson, J. P. T.
    Higgins (2002), Statistics in Medicine 21, 1559-1573; the question, R. Kohavi, D. Tang, Y. Xu (2020),
    Trustworthy Online Controlled Experiments, chapter 23.
    """
    if len(periods) < _FEWEST_PERIODS:
        return None
    weights = [1.0 / period.effect.standard_error**2 for period in periods]
    total = sum(weights)
    center = sum(weight * period.middle for weight, period in zip(weights, periods, strict=True)) / total
    leverages = [weight * (period.middle - center) for weight, period in zip(weights, periods, strict=True)]
    spread = sum(
        leverage * (period.middle - center) for leverage, period in zip(leverages, periods, strict=True)
    )
    effects = [period.effect for period in periods]
    average = combine_effects(zip((weight / total for weight in weights), effects, strict=True))
    slope = combine_effects(zip((leverage / spread for leverage in leverages), effects, strict=True))
    test = slope.test(method=TREND)
    pattern = STABLE
    if test.p_value < significance_level:
        at_first = average.value + slope.value * (periods[0].middle - center)
        pattern = NOVELTY if at_first * slope.value < 0.0 else LEARNING
    return NoveltyTrend(
        periods=tuple(periods), average=average, change_per_day=slope, test=test, pattern=pattern
    )


def effects_of_counts(days: Sequence[Stratum[GroupCounts]], variant: int) -> tuple[PeriodEffect, ...]:
    """Return the log rate ratios of successive days, days with few conversions taken together.

    The strata of day d since exposure are the users observed for that whole day who had not converted before,
    and how many of them converted on it, apart for each weight epoch: the later the day, the fewer users of
    the last epochs it has, so that pooled effects of weights that changed would fade by themselves. Days are
    added up, within epochs, until each count expected under equal rates is 5; what remains at the end joins
    the last period.
    """
    periods: list[PeriodEffect] = []
    by_day = gather_days(days)
    first = 0
    before: tuple[Stratum[GroupCounts], ...] = ()
    since: tuple[Stratum[GroupCounts], ...] = ()
    for day, strata in enumerate(by_day):
        since = _add(since, strata)
        effect = estimate_log_rate_ratio_within(since, variant)
        if effect is not None:
            periods.append(PeriodEffect(first_day=first, last_day=day, effect=effect))
            first, before, since = day + 1, since, ()
    if periods and first < len(by_day):
        last = periods.pop()
        together = estimate_log_rate_ratio_within(_add(before, since), variant)
        periods.append(
            PeriodEffect(first_day=last.first_day, last_day=len(by_day) - 1, effect=together or last.effect)
        )
    return tuple(periods)


def gather_days(days: Sequence[Stratum[GroupCounts]]) -> list[tuple[Stratum[GroupCounts], ...]]:
    """Return the strata of each day: those that follow one another with its label, one per weight epoch."""
    return [tuple(strata) for _, strata in groupby(days, key=lambda stratum: stratum.label)]


def _add(
    one: tuple[Stratum[GroupCounts], ...], other: tuple[Stratum[GroupCounts], ...]
) -> tuple[Stratum[GroupCounts], ...]:
    """Return two days together, epoch by epoch."""
    if not one:
        return other
    return tuple(
        Stratum(label=a.label, groups=tuple(x + y for x, y in zip(a.groups, b.groups, strict=True)))
        for a, b in zip(one, other, strict=True)
    )
