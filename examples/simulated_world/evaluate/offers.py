"""How near recommended offers come to the best, with simple answers beside."""

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


async def recommended_offers(optimizer: OptimizerServiceStub, world: World) -> FloatArray:
    """Ask for every campaign's offer; NaN where the system declines."""

    async def ask(campaign: int) -> float:
        request = OptimizeOfferRequest(campaign_id=campaign_id(campaign), objective="profit")
        try:
            answer = await optimizer.OptimizeOffer(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                return float("nan")
            raise
        return answer.offer_amount

    return np.array(await ask_each(range(len(world.campaigns.names)), ask))


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
    print("\noffer for profit")
    print_line("recommended", score_offers(await recommended_offers(evaluation.optimizer, world), truth))
    print_line("keep the current", score_offers(current, truth))
    print_line("one offer per type", f"{score_offers(by_type, truth)} (chosen knowing the truth)")
