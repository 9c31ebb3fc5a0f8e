"""The effect by days since a user was first exposed, as an analysis shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.abtest.domain.comparisons import Comparison, GroupValue
from services.abtest.domain.metric_comparison import compare_metric
from services.abtest.domain.metrics import Metric
from services.abtest.domain.model import GroupCounts, TestDesign
from services.abtest.domain.novelty import (
    NOVELTY,
    STABLE,
    TREND,
    NoveltyTrend,
    effects_of_counts,
    estimate_trend,
    gather_days,
)
from services.abtest.domain.outcomes import MetricOutcome
from services.abtest.domain.samples import Stratum

LONGEST_DAYS = 28


@dataclass(frozen=True, kw_only=True)
class NoveltyDay:
    """One day since exposure: who had not converted before, and converted on it."""

    day: int
    groups: tuple[GroupValue, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class NoveltyView:
    """The days, 0 first. `pattern` is `novelty`, `learning`, `stable`, or empty where nothing can be said."""

    days: tuple[NoveltyDay, ...]
    trend_p_value: float | None
    trend_method: str
    pattern: str
    warnings: tuple[str, ...] = ()


def count_days(
    users: Mapping[tuple[int, int, int, int | None], int], groups: int, *, longest: int = LONGEST_DAYS
) -> tuple[Stratum[GroupCounts], ...]:
    """Return per day since exposure who was observed for all of it and had not converted before, and who did.

    Each day has a stratum for every weight epoch, in their order.

    Args:
        users: by weight epoch, group, whole days observed, and day of the first conversion (None: none,
            below 0: before).
        groups: how many there are.
        longest: how many days there are at most.

    >>> [day.groups[0] for day in count_days({(1, 0, 2, None): 5, (1, 0, 2, 1): 3}, 1)]
    [GroupCounts(users=8, conversions=0), GroupCounts(users=8, conversions=3)]
    """
    epochs = {epoch: place for place, epoch in enumerate(sorted({key[0] for key in users}))}
    at_risk = [[[0] * groups for _ in epochs] for _ in range(longest)]
    converted = [[[0] * groups for _ in epochs] for _ in range(longest)]
    for (epoch, group, observed, first_day), count in users.items():
        for day in range(min(observed, longest)):
            if first_day is None or first_day >= day:
                at_risk[day][epochs[epoch]][group] += count
            if first_day == day:
                converted[day][epochs[epoch]][group] += count
    return tuple(
        Stratum(
            label=str(day),
            groups=tuple(
                GroupCounts(users=users, conversions=conversions)
                for users, conversions in zip(at_risk[day][place], converted[day][place], strict=True)
            ),
        )
        for day in range(longest)
        if any(map(any, at_risk[day]))
        for place in epochs.values()
    )


def view_days(design: TestDesign, metric: Metric, days: Sequence[Stratum[GroupCounts]]) -> NoveltyView:
    """Return the effect day by day, and whether it fades or grows; of several variants the clearest trend."""
    by_day = gather_days(days)
    results = [
        compare_metric(design, MetricOutcome(metric=metric, strata=_with_users(day))) for day in by_day
    ]
    trends: list[tuple[str, NoveltyTrend]] = []
    variants = len(design.groups) - 1
    for index in range(1, variants + 1):
        trend = estimate_trend(
            effects_of_counts(days, index), significance_level=design.significance_level / variants
        )
        if trend is not None:
            trends.append((design.groups[index].name, trend))
    p_value = min((trend.test.p_value for _, trend in trends), default=None)
    told = [(name, trend.pattern) for name, trend in trends if trend.pattern != STABLE]
    pattern = told[0][1] if told else STABLE if trends else ""
    return NoveltyView(
        days=tuple(
            NoveltyDay(day=int(day[0].label), groups=result.groups, comparisons=result.comparisons)
            for day, result in zip(by_day, results, strict=True)
        ),
        trend_p_value=None if p_value is None else min(1.0, variants * p_value),
        trend_method=TREND if trends else "",
        pattern=pattern,
        warnings=tuple(
            f"the effect of {name} {'fades' if pattern == NOVELTY else 'grows'} with the days since "
            "exposure: the lift so far is not what to expect in the long run"
            for name, pattern in told
        ),
    )


def _with_users(day: Sequence[Stratum[GroupCounts]]) -> tuple[Stratum[GroupCounts], ...]:
    return tuple(stratum for stratum in day if any(counts.users for counts in stratum.groups))
