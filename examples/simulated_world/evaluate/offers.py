"""How near recommended offers come to the best, with simple answers beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np
from numpy.typing import NDArray

from examples.simulated_world import response
from examples.simulated_world.evaluate.asking import CALL_SECONDS, Evaluation, ask_each, print_line
from examples.simulated_world.messages import campaign_id
from examples.simulated_world.response import FloatArray
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub

NEAR_OFFER: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class OfferScore:
    """How near recommended offers come to the best for profit, over all campaigns.

    `mean_miss` (currency units) and `profit_share` (true profit at the recommended offers over the best
    possible) are over the campaigns that got a recommendation; `near_share` counts a refusal as a miss.
    """

    mean_miss: float
    near_share: float
    profit_share: float
    refusals: int

    def __str__(self) -> str:
        return (
            f"mean miss ${self.mean_miss:.2f}, within ${NEAR_OFFER:.0f}: {self.near_share:.1%}, "
            f"profit {self.profit_share:.1%} of the best, {self.refusals} refusals"
        )


def score_offers(offers: FloatArray, truth: Truth) -> OfferScore:
    """Score one offer per campaign; NaN is a refusal."""
    given = ~np.isnan(offers)
    miss = np.abs(offers - truth.best_offer_for_profit)
    column = np.rint((np.where(given, offers, response.MIN_OFFER) - response.MIN_OFFER) * 2).astype(np.intp)
    reached = np.take_along_axis(truth.profit_curve, column[:, np.newaxis], axis=1)[:, 0]
    best = truth.profit_curve.max(axis=1)
    return OfferScore(
        mean_miss=float(miss[given].mean()) if given.any() else float("nan"),
        near_share=float((given & (miss <= NEAR_OFFER)).mean()),
        profit_share=float(reached[given].sum() / best[given].sum()) if given.any() else float("nan"),
        refusals=int((~given).sum()),
    )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of a recommended offer (currency units) against the current one.

    `confidence` that it is better, and the intervals of the relative gain (fractions) and of its amount per
    view; None where not said.
    """

    offer: float
    confidence: float | None
    gain: tuple[float, float] | None
    amount: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Duels:
    """Recommended offers against the current ones, as parallel arrays: what was claimed, and what is true.

    `claimed` is the confidence, `better` whether the recommended offer truly earns more. `gain_held`, of
    those with an interval of the gain, tells whether it holds the true gain, and `amount_held` the same of
    the gain as an amount per view.
    """

    claimed: FloatArray
    better: FloatArray
    gain_held: FloatArray
    amount_held: FloatArray

    def __str__(self) -> str:
        return (
            f"{self.claimed.mean():.1%} claimed, {self.better.mean():.1%} of {len(self.better)} truly so; "
            f"90 % intervals of the gain hold {self.gain_held.mean():.1%} of {len(self.gain_held)}, of its"
            f" amount {self.amount_held.mean():.1%} of {len(self.amount_held)}"
        )


def judge_claims(claims: Sequence[Claim | None], current: FloatArray, truth: Truth) -> Duels:
    """Compare claims with the truth; campaigns that keep their offer, or were declined, are left out."""
    claimed, better, held, amounts = [], [], [], []
    for campaign, claim in enumerate(claims):
        if claim is None or claim.confidence is None or claim.offer == current[campaign]:
            continue
        profit = truth.profit_curve[campaign]
        new, old = (float(profit[place_of(offer)]) for offer in (claim.offer, float(current[campaign])))
        claimed.append(claim.confidence)
        better.append(new > old)
        if claim.gain is not None:
            held.append(old > 0.0 and claim.gain[0] <= new / old - 1.0 <= claim.gain[1])
        if claim.amount is not None:
            amounts.append(claim.amount[0] <= new - old <= claim.amount[1])
    return Duels(
        claimed=np.array(claimed),
        better=np.array(better, dtype=np.float64),
        gain_held=np.array(held, dtype=np.float64),
        amount_held=np.array(amounts, dtype=np.float64),
    )


def place_of(offer: float) -> int:
    """Where the truth's curves have an offer (currency units)."""
    return round((offer - response.MIN_OFFER) * 2)


async def ask_claims(optimizer: OptimizerServiceStub, world: World) -> list[Claim | None]:
    """Ask for every campaign's offer; None where the system declines."""

    async def ask(campaign: int) -> Claim | None:
        request = OptimizeOfferRequest(campaign_id=campaign_id(campaign), objective="profit")
        try:
            answer = await optimizer.OptimizeOffer(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return None
            raise
        gain = answer.expected_improvement_percent_interval
        told = answer.HasField("expected_improvement_percent_interval")
        amount = answer.expected_objective_gain_interval
        return Claim(
            offer=answer.offer_amount,
            confidence=answer.confidence if answer.HasField("confidence") else None,
            gain=(gain.lower / 100.0, gain.upper / 100.0) if told else None,
            amount=(amount.lower, amount.upper) if answer.HasField("expected_objective_gain") else None,
        )

    return await ask_each(range(len(world.campaigns.names)), ask)


def best_constant_per_type(truth: Truth, campaign_types: NDArray[np.intp]) -> FloatArray:
    """The offer that makes most profit over all campaigns of a type, for each campaign."""
    best = np.empty(len(campaign_types))
    for kind in np.unique(campaign_types):
        of_type = campaign_types == kind
        best[of_type] = response.CURVE_OFFERS[truth.profit_curve[of_type].sum(axis=0).argmax()]
    return best


async def report(evaluation: Evaluation) -> None:
    """Print the offers' part of the table."""
    world, truth = evaluation.world, evaluation.truth
    campaigns = world.campaigns
    current = np.array([campaigns.current_offer(index) for index in range(len(campaigns.names))])
    by_type = best_constant_per_type(truth, campaigns.campaign_type)
    claims = await ask_claims(evaluation.optimizer, world)
    offers = np.array([claim.offer if claim else np.nan for claim in claims])
    print("\noffer for profit")
    print_line("recommended", score_offers(offers, truth))
    print_line("keep the current", score_offers(current, truth))
    print_line("one offer per type", f"{score_offers(by_type, truth)} (chosen knowing the truth)")
    print_line("ceiling", score_offers(truth.best_offer_for_profit, truth))
    print_line("better than the current", judge_claims(claims, current, truth))
