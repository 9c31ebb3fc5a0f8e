"""What a design does before a user is risked: simulated tests, without an effect and with one, are decided.

Verdicts are those of `decision.decide`, asked at every look at which one may fall.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.abtest.domain.decision import TestEvidence, count_conversions, decide
from services.abtest.domain.looks import Look, LookEntry
from services.abtest.domain.model import DecisionMethod, EpochCounts, GroupCounts, TestDesign
from services.abtest.domain.sample_ratio import check_sample_ratio
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
CONTROL_INDEX = 0
_CELLS_AT_ONCE = 500_000


@dataclass(frozen=True, kw_only=True)
class SimulationDesign:
    """A design to try, and how much to simulate.

    `relative_lifts` are the variants' true effects. A test is looked at `looks` times, at equal steps of
    users.
    """

    test: TestDesign
    weights: tuple[float, ...]
    baseline_conversion_rate: float
    relative_lifts: tuple[float, ...]
    looks: int
    simulations: int
    seed: int
    users_per_day: float | None

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
    at_once = max(1, _CELLS_AT_ONCE // (len(design.look_users) * len(rates)))
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
    scores = score_counts(counts)
    candidates = find_candidates(design.test, design.weights, counts, scores)
    due = find_due_looks(design.test, counts.users)
    reached = (counts.users >= design.test.target_sample_size).all(axis=2)
    winners, invalid = np.full(tests, -1), np.zeros(tests, dtype=np.bool_)
    over_at, lifts = reached.argmax(axis=1), np.full(tests, np.nan)
    names = [group.name for group in design.test.groups]
    for test in np.flatnonzero(candidates.any(axis=1)).tolist():
        history = _History(design, test, counts, scores, due)
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


class _History:
    """One simulated test: its verdict at a look, with the planned looks taken before."""

    def __init__(
        self,
        design: SimulationDesign,
        test: int,
        counts: SimulatedCounts,
        scores: SimulatedScores,
        due: Flags,
    ) -> None:
        self._design = design
        self._users = counts.users[test].tolist()
        self._conversions = counts.conversions[test].tolist()
        self._scores = scores
        self._test = test
        self._progress = progress_of(design.test, counts.users[test : test + 1])[0].tolist()
        self._due = due[test]

    def decide(self, look: int) -> Decision:
        """Return the verdict at a look, as the service would give it."""
        users, conversions = self._users[look], self._conversions[look]
        epoch = EpochCounts(
            epoch=1,
            weights=self._design.weights,
            groups=tuple(
                GroupCounts(users=count, conversions=converted)
                for count, converted in zip(users, conversions, strict=True)
            ),
        )
        check = check_sample_ratio([epoch])
        evidence = TestEvidence(
            metrics=(count_conversions([epoch]),),
            users=tuple(users),
            ended=False,
            ratio_mismatch=check is not None and check.alarms,
            looks=tuple(self._earlier_looks(look)),
        )
        return decide(self._design.test, evidence)

    def _earlier_looks(self, look: int) -> Iterator[Look]:
        if self._design.test.decision_method is DecisionMethod.ANYTIME:
            return
        metric = self._design.test.primary_metric.name
        for number, earlier in enumerate(np.flatnonzero(self._due[:look]).tolist(), start=1):
            yield Look(
                number=number,
                progress=self._progress[earlier],
                entries=tuple(
                    self._entry(metric, earlier, variant) for variant in range(1, len(self._users[look]))
                ),
            )

    def _entry(self, metric: str, look: int, variant: int) -> LookEntry:
        place = (self._test, look, variant - 1)
        scores = self._scores
        return LookEntry(
            metric=metric,
            variant=variant,
            z=float(scores.z[place]) if scores.ready[place] else None,
            margin_z=None,
            information=float(scores.information[place]),
            method="",
            relative_lift=float(np.expm1(scores.log_ratio[place])),
            lift_lower=None,
            lift_upper=None,
        )
