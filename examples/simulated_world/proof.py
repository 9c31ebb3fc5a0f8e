"""Measures the offer recommendations over many simulated worlds, offline: what they claim, and what is true.

    python -m examples.simulated_world.proof --first-seed 5001 --worlds 20

Half a minute per world on one core. Each world ends a weekday later than the one before, so that offers are
asked for on all weekdays. It is trained on twice: on all its days, for the recommended offers; and on all but
its last 14, whose observed daily rates then tell how many the intervals hold, at the offers that were sent.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Final

import numpy as np

from examples.simulated_world.columns import MICROS
from examples.simulated_world.evaluate.offers import (
    Claim,
    Duels,
    OfferScore,
    best_constant_per_type,
    judge_claims,
    place_of,
    score_offers,
)
from examples.simulated_world.evaluate.rates import trailing_mean_r2
from examples.simulated_world.many_worlds import read_worlds
from examples.simulated_world.offline import add_up, answer_all, train_before
from examples.simulated_world.response import (
    CAMPAIGN_DAY_NOISE,
    WEEKDAY_EFFECT,
    FloatArray,
    logistic,
)
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from services.optimizer.domain.features import DailyTable
from services.optimizer.domain.offers.answer import OfferAnswer
from services.optimizer.domain.response.response import CURVE_OFFERS_MICROS
from services.optimizer.training.pipeline import TrainedModel

FUTURE_DAYS: Final = 14
_DRAWN_DAYS: Final = 400
VIEW_BANDS: Final = ((1, 5), (5, 10), (10, 20), (20, 30), (30, 50), (50, 80), (80, math.inf))
CLAIM_BANDS: Final = ((0.0, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.98), (0.98, 1.0))


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Observed days (each campaign, day and offer sent), and whether a 90 % interval held their rates.

    Parallel arrays: the days' views, the views that an interval was made for, and the interval's width.
    """

    held: FloatArray
    views: FloatArray
    usual_views: FloatArray
    widths: FloatArray

    @property
    def days(self) -> int:
        """How many days there are."""
        return len(self.held)

    @property
    def by_day(self) -> float:
        """The share of days held."""
        return float(self.held.mean())

    @property
    def by_view(self) -> float:
        """The same, every view counting once."""
        return float(np.average(self.held, weights=self.views))

    @property
    def width(self) -> float:
        """The intervals' mean width."""
        return float(self.widths.mean())

    @classmethod
    def concatenate(cls, parts: Sequence["Coverage"]) -> "Coverage":
        """Return the days of all parts."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )


@dataclass(frozen=True, kw_only=True)
class WorldScore:
    """What is measured in one world; scores of R² are over held-out rows, by views."""

    seed: int
    model: TrainedModel
    trailing_mean_r2: float
    recommended: OfferScore
    kept: OfferScore
    by_type: OfferScore
    coverage: Coverage
    paused_coverage: float
    duels: Duels


def measure(seed: int, end_day: date) -> WorldScore:
    """Draw a world, and measure what the optimizer makes of it."""
    world = World.build(seed=seed, end_date=end_day - timedelta(days=1))
    truth, outcomes = Truth.of(world), add_up(world)
    model = train_before(outcomes, end_day)
    answers = answer_all(world, outcomes, model, end_day)
    current = np.array([world.campaigns.current_offer(each) for each in range(len(answers))])
    earlier = end_day - timedelta(days=FUTURE_DAYS)
    forecasts = answer_all(world, outcomes, train_before(outcomes, earlier), earlier)
    return WorldScore(
        seed=seed,
        model=model,
        trailing_mean_r2=explained_by_trailing_mean(outcomes.table, model),
        recommended=score_offers(recommended_offers(answers), truth),
        kept=score_offers(current, truth),
        by_type=score_offers(best_constant_per_type(truth, world.campaigns.campaign_type), truth),
        coverage=observe(outcomes.table, forecasts, earlier),
        paused_coverage=float(np.mean(drawn_coverage(outcomes.table, answers, truth)[1])),
        duels=judge(answers, current, truth),
    )


def recommended_offers(answers: Sequence[OfferAnswer | None]) -> FloatArray:
    """Return the offers in currency units, NaN for a refusal."""
    return np.array([answer.recommendation.offer_micros / MICROS if answer else np.nan for answer in answers])


def explained_by_trailing_mean(table: DailyTable, model: TrainedModel) -> float:
    """Return what a campaign's own mean rate of the days before explains of the held-out rows."""
    return trailing_mean_r2(
        campaign=table.campaign,
        day=table.day,
        views=table.views,
        conversions=table.conversions,
        first_held_out=model.data.split_day.toordinal(),
    )


def observe(table: DailyTable, answers: Sequence[OfferAnswer | None], first_day: date) -> Coverage:
    """Return how many of the observed rates from `first_day` on the answers' intervals held."""
    rows = np.flatnonzero((table.day >= first_day.toordinal()) & (table.views > 0))
    seen = []
    for row in rows:
        answer = answers[table.campaign[row]]
        offer = int(table.offer_micros[row])
        if answer is None or offer not in CURVE_OFFERS_MICROS:
            continue
        interval = answer.curve_intervals[CURVE_OFFERS_MICROS.index(offer)]
        if interval is None or answer.case.daily_views is None:
            continue
        held = interval.lower <= table.conversion_rate[row] <= interval.upper
        width = interval.upper - interval.lower
        seen.append((held, table.views[row], answer.case.daily_views, width))
    hits, views, usual, widths = np.array(seen, dtype=np.float64).T
    return Coverage(held=hits, views=views, usual_views=usual, widths=widths)


def drawn_coverage(
    table: DailyTable, answers: Sequence[OfferAnswer | None], truth: Truth
) -> tuple[list[float], list[float]]:
    """Return how many days drawn from the equations the intervals of recommended offers hold, by campaign.

    First of campaigns that go on, then of those that nobody viewed in the history days, of which no observed
    days come. A drawn day is of a size that the campaign had, is one of the days that the answer is for, and
    has luck of its own; its audience does not lean.
    """
    going_on: list[float] = []
    paused: list[float] = []
    for campaign, answer in enumerate(answers):
        if answer is None or answer.interval is None:
            continue
        rng = np.random.default_rng(campaign)
        sizes = rng.choice(table.views[(table.campaign == campaign) & (table.views > 0)], _DRAWN_DAYS)
        rate = truth.conversion_curve[campaign, place_of(answer.recommendation.offer_micros / MICROS)]
        weekdays = np.array([day.weekday() for day in answer.case.days])
        logits = np.log(rate / (1.0 - rate)) + WEEKDAY_EFFECT[rng.choice(weekdays, _DRAWN_DAYS)]
        rates = logistic(logits + rng.normal(0.0, CAMPAIGN_DAY_NOISE, _DRAWN_DAYS))
        observed = rng.binomial(sizes, rates) / sizes
        held = (observed >= answer.interval.lower) & (observed <= answer.interval.upper)
        (going_on if answer.case.seen_until is None else paused).append(float(held.mean()))
    return going_on, paused


def judge(answers: Sequence[OfferAnswer | None], current: FloatArray, truth: Truth) -> Duels:
    """Return what was claimed of the recommended offers against the current ones, and what is true."""
    return judge_claims([_claim(answer) if answer else None for answer in answers], current, truth)


def _claim(answer: OfferAnswer) -> Claim:
    comparison = answer.recommendation.comparison
    return Claim(
        offer=answer.recommendation.offer_micros / MICROS,
        confidence=comparison.confidence if comparison else None,
        gain=comparison.improvement.interval if comparison and comparison.improvement else None,
        amount=comparison.gain.interval if comparison and comparison.gain else None,
    )


def print_world(score: WorldScore) -> None:
    """Print a world's line of the table."""
    scores, coverage = score.model.scores, score.coverage
    print(
        f"{score.seed:>7}  {_number(scores.r2_score)}  {_number(scores.response_r2_score)}"
        f"  {_number(scores.noise_ceiling)}  {_number(scores.type_mean_r2_score)}"
        f"  {score.trailing_mean_r2:6.3f}  {score.recommended.mean_miss:5.2f}"
        f"  {score.recommended.near_share:6.1%}  {score.by_type.near_share:6.1%}"
        f"  {score.kept.near_share:6.1%}  {coverage.by_day:6.1%}  {coverage.by_view:6.1%}"
        f"  {score.paused_coverage:6.1%}  {coverage.width:5.3f}",
        flush=True,
    )


def _number(value: float | None) -> str:
    return "  none" if value is None else f"{value:6.3f}"


def print_summary(scores: Sequence[WorldScore]) -> None:
    """Print what holds over all worlds."""
    coverage = np.array([score.coverage.by_day for score in scores])
    misses = np.array([score.recommended.mean_miss for score in scores])
    near = np.array([score.recommended.near_share for score in scores])
    print(
        f"\n{len(scores)} worlds: mean miss ${misses.mean():.2f} (worst ${misses.max():.2f}),"
        f" within $2 {near.mean():.1%} (worst {near.min():.1%})"
    )
    print(
        f"90 % intervals hold {coverage.mean():.1%} of observed days at the offers sent"
        f" (worlds {coverage.min():.1%} to {coverage.max():.1%}),"
        f" {np.mean([score.paused_coverage for score in scores]):.1%} of days drawn for paused campaigns"
    )
    print_coverage(Coverage.concatenate([score.coverage for score in scores]))
    claimed = np.concatenate([score.duels.claimed for score in scores])
    better = np.concatenate([score.duels.better for score in scores])
    held = np.concatenate([score.duels.gain_held for score in scores])
    amounts = np.concatenate([score.duels.amount_held for score in scores])
    print(
        f"90 % intervals of the gain hold {held.mean():.1%} of {len(held)} true gains, of its amount"
        f" {amounts.mean():.1%} of {len(amounts)}"
    )
    print(f"confidence {claimed.mean():.3f} on average, {better.mean():.3f} of {len(better)} truly better:")
    for least, most in CLAIM_BANDS:
        inside = (claimed > least) & (claimed <= most)
        if inside.any():
            print(
                f"  claimed {least:.2f} to {most:.2f}: {int(inside.sum()):5} offers,"
                f" {claimed[inside].mean():.3f} claimed, {better[inside].mean():.3f} better"
            )


def print_coverage(coverage: Coverage) -> None:
    """Print the share of days held by their size: as they turned out, and as they usually are."""
    for title, sizes in (
        ("views that a day had", coverage.views),
        ("views that a day usually has", coverage.usual_views),
    ):
        print(f"days held, by {title}:")
        for least, most in VIEW_BANDS:
            inside = (sizes >= least) & (sizes < most)
            if inside.any():
                held, width = coverage.held[inside].mean(), coverage.widths[inside].mean()
                print(
                    f"  {least:3.0f} to {most:3.0f}: {int(inside.sum()):6} days, {held:.1%}, {width:.3f} wide"
                )


def main(arguments: list[str] | None = None) -> int:
    """Measure the worlds and print the table."""
    worlds = read_worlds(
        arguments,
        prog="python -m examples.simulated_world.proof",
        description="Measure offer recommendations over many simulated worlds, offline.",
        first_seed=5001,
        worlds=20,
    )
    print(
        "   seed  R2 forest response ceiling type-mean trailing  miss  within $2  (by type)  (kept)"
        "  held   by view  paused  width"
    )
    scores = []
    for seed, end_day in worlds:
        scores.append(measure(seed, end_day))
        print_world(scores[-1])
    print_summary(scores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
