"""What a design does before a user is risked: simulated tests, without an effect and with one, are decided.

Verdicts are those of `decision.decide`, asked at every look at which one may fall.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.abtest.domain.assessment import MetricEvidence
from services.abtest.domain.contrasts import Sample
from services.abtest.domain.decision import TestEvidence, decide
from services.abtest.domain.looks import Look, LookEntry
from services.abtest.domain.metrics import REVENUE, Metric, MetricKind, MetricRole
from services.abtest.domain.model import DecisionMethod, EpochCounts, GroupCounts, TestDesign
from services.abtest.domain.sample_ratio import check_sample_ratio
from services.abtest.domain.samples import MeanSample, Stratum
from services.abtest.domain.simulated_amounts import (
    RevenueModel,
    SimulatedAmounts,
    draw_amounts,
    score_amounts,
    squared_deviations,
)
from services.abtest.domain.simulated_counts import (
    Flags,
    Floats,
    Ints,
    SimulatedCounts,
    SimulatedScores,
    draw_counts,
    find_candidates,
    find_due_looks,
    progress_of,
    score_counts,
)
from services.abtest.domain.verdicts import Decision, Verdict

METHOD = "multinomial assignment, binomial conversion, the service's own verdicts at every look"
"""How tests are simulated, as answers carry it."""
REVENUE_METHOD = METHOD.replace("binomial conversion", "binomial conversion, gamma revenue")
"""The same, where revenue decides."""
REVENUE_PER_USER = Metric(
    name="revenue_per_user", role=MetricRole.PRIMARY, kind=MetricKind.MEAN, numerator=REVENUE
)
"""What decides a simulated test with revenue."""
CONTROL_INDEX = 0
_CELLS_AT_ONCE = 500_000


@dataclass(frozen=True, kw_only=True)
class SimulationDesign:
    """A design to try, and how much to simulate.

    `relative_lifts` are the variants' true effects on the conversion rate. A test is looked at `looks` times,
    at equal steps of users. With `revenue` the test decides by revenue per user, else by conversion.
    """

    test: TestDesign
    weights: tuple[float, ...]
    baseline_conversion_rate: float
    relative_lifts: tuple[float, ...]
    looks: int
    simulations: int
    seed: int
    users_per_day: float | None
    revenue: RevenueModel | None = None

    @property
    def rates(self) -> tuple[float, ...]:
        """The groups' true rates with the effect, control's first."""
        baseline = self.baseline_conversion_rate
        return (baseline, *(baseline * (1.0 + lift) for lift in self.relative_lifts))

    @property
    def look_users(self) -> tuple[int, ...]:
        """Users of all groups at each look; at the last the smallest group is expected to have its target."""
        total = self.test.target_sample_size / min(self.weights)
        steps = [round(total * look / self.looks) for look in range(1, self.looks + 1)]
        return tuple(dict.fromkeys(max(1, users) for users in steps))


@dataclass(frozen=True, kw_only=True)
class SimulatedTests:
    """What became of simulated tests, one entry each.

    `winners` has the index of the group that was named, -1 where none was; `invalid` tells of a sample-ratio
    mismatch. `over_at` is the look, from 0, at which the test was over, and `users` how many it had then.
    `lifts` is what a winning variant seemed to gain over control, NaN where no variant won.
    """

    winners: Ints
    invalid: Flags
    over_at: Ints
    users: Ints
    lifts: Floats


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Simulated tests of one design without an effect, and with it (None where all lifts are 0)."""

    design: SimulationDesign
    without_effect: SimulatedTests
    with_effect: SimulatedTests | None


def simulate(design: SimulationDesign) -> Simulation:
    """Return simulated tests of a design; the same design and seed give the same ones."""
    without, with_effect = np.random.default_rng(design.seed).spawn(2)
    baseline = (design.baseline_conversion_rate,) * len(design.weights)
    return Simulation(
        design=design,
        without_effect=simulate_tests(design, baseline, without),
        with_effect=simulate_tests(design, design.rates, with_effect) if any(design.relative_lifts) else None,
    )


def simulate_tests(
    design: SimulationDesign, rates: Sequence[float], generator: np.random.Generator
) -> SimulatedTests:
    """Return simulated tests whose groups have these true rates, a part at a time to spare memory."""
    spending = design.look_users[-1] * max(rates) if design.revenue else 0.0
    at_once = max(1, int(_CELLS_AT_ONCE / max(len(design.look_users) * len(rates), spending)))
    bounds = [*range(0, design.simulations, at_once), design.simulations]
    parts = [_simulate_part(design, rates, generator, end - start) for start, end in pairwise(bounds)]
    return SimulatedTests(
        winners=np.concatenate([part.winners for part in parts]),
        invalid=np.concatenate([part.invalid for part in parts]),
        over_at=np.concatenate([part.over_at for part in parts]),
        users=np.concatenate([part.users for part in parts]),
        lifts=np.concatenate([part.lifts for part in parts]),
    )


def _simulate_part(
    design: SimulationDesign, rates: Sequence[float], generator: np.random.Generator, tests: int
) -> SimulatedTests:
    counts = draw_counts(
        generator,
        weights=design.weights,
        rates=rates,
        look_users=design.look_users,
        target_sample_size=design.test.target_sample_size,
        tests=tests,
    )
    amounts = None if design.revenue is None else draw_amounts(generator, counts, design.revenue)
    scores = score_counts(counts) if amounts is None else score_amounts(counts, amounts)
    part = _Part(
        counts=counts,
        amounts=amounts,
        scores=scores,
        due=find_due_looks(design.test, counts.users),
        progress=progress_of(design.test, counts.users),
    )
    candidates = find_candidates(design.test, design.weights, counts.users, scores)
    reached = (counts.users >= design.test.target_sample_size).all(axis=2)
    winners, invalid = np.full(tests, -1), np.zeros(tests, dtype=np.bool_)
    over_at, lifts = reached.argmax(axis=1), np.full(tests, np.nan)
    names = [group.name for group in design.test.groups]
    for test in np.flatnonzero(candidates.any(axis=1)).tolist():
        history = _History(design, part, test)
        for look in np.flatnonzero(candidates[test, : over_at[test] + 1]).tolist():
            decision = history.decide(look)
            if decision.verdict is Verdict.CONTINUE:
                continue
            over_at[test], invalid[test] = look, decision.verdict is Verdict.INVALID
            if decision.winner is not None:
                winners[test] = names.index(decision.winner)
                if winners[test] != CONTROL_INDEX:
                    lifts[test] = decision.variants[winners[test] - 1].relative_lift
            break
    users = np.take_along_axis(counts.users.sum(axis=2), over_at[:, None], axis=1)[:, 0]
    return SimulatedTests(winners=winners, invalid=invalid, over_at=over_at, users=users, lifts=lifts)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Tests simulated together."""

    counts: SimulatedCounts
    amounts: SimulatedAmounts | None
    scores: SimulatedScores
    due: Flags
    progress: Floats


class _History:
    """One simulated test: its verdict at a look, with the planned looks taken before."""

    def __init__(self, design: SimulationDesign, part: _Part, test: int) -> None:
        self._design = design
        self._part = part
        self._test = test

    def decide(self, look: int) -> Decision:
        """Return the verdict at a look, as the service would give it."""
        counts = self._part.counts
        groups = tuple(
            GroupCounts(users=users, conversions=converted)
            for users, converted in zip(
                counts.users[self._test, look].tolist(),
                counts.conversions[self._test, look].tolist(),
                strict=True,
            )
        )
        check = check_sample_ratio([EpochCounts(epoch=1, weights=self._design.weights, groups=groups)])
        evidence = TestEvidence(
            metrics=(
                MetricEvidence(
                    metric=self._design.test.primary_metric,
                    strata=[Stratum(label="1", groups=self._sample(look, groups))],
                ),
            ),
            users=tuple(group.users for group in groups),
            ended=False,
            ratio_mismatch=check is not None and check.alarms,
            looks=tuple(self._earlier_looks(look)),
        )
        return decide(self._design.test, evidence)

    def _sample(self, look: int, groups: tuple[GroupCounts, ...]) -> tuple[Sample, ...]:
        amounts = self._part.amounts
        if amounts is None:
            return groups
        deviations = squared_deviations(self._part.counts, amounts)[self._test, look].tolist()
        totals = amounts.totals[self._test, look].tolist()
        return tuple(
            MeanSample(users=group.users, total=total, squared_deviations=deviation)
            for group, total, deviation in zip(groups, totals, deviations, strict=True)
        )

    def _earlier_looks(self, look: int) -> Iterator[Look]:
        if self._design.test.decision_method is DecisionMethod.ANYTIME:
            return
        taken = np.flatnonzero(self._part.due[self._test, :look]).tolist()
        for number, earlier in enumerate(taken, start=1):
            yield Look(
                number=number,
                progress=float(self._part.progress[self._test, earlier]),
                entries=tuple(
                    self._entry(earlier, variant) for variant in range(1, len(self._design.weights))
                ),
            )

    def _entry(self, look: int, variant: int) -> LookEntry:
        place = (self._test, look, variant - 1)
        scores = self._part.scores
        lift = float(scores.relative_lift[place])
        return LookEntry(
            metric=self._design.test.primary_metric.name,
            variant=variant,
            z=float(scores.z[place]) if scores.ready[place] else None,
            margin_z=None,
            information=float(scores.information[place]),
            method="",
            relative_lift=None if np.isnan(lift) else lift,
            lift_lower=None,
            lift_upper=None,
        )
