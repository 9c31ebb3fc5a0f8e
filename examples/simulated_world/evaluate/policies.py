"""What proposed policies of offers would truly earn, beside what the logged propensities say of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2

from examples.simulated_world.columns import MICROS
from examples.simulated_world.drawn import DrawnLog, drawn_logs, never_drawn, propose
from examples.simulated_world.evaluate.asking import (
    CALL_SECONDS,
    Evaluation,
    NotServedError,
    ask_each,
    print_line,
)
from examples.simulated_world.messages import campaign_id
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.policies_pb2 import (
    EvaluateOfferPolicyRequest,
    EvaluateOfferPolicyResponse,
    OfferChoice,
    OfferPolicyRule,
    PolicyEstimate,
)
from services.optimizer.domain.policies.offer_policy import OfferPolicy

LEAST_OVERLAP: Final = 0.05
ESTIMATES: Final = ("ips", "snips", "doubly_robust")
LINES: Final = 9


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A policy for a campaign that drew its offers."""

    name: str
    log: DrawnLog
    policy: OfferPolicy


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was answered about a proposal, and its true value (currency units a delivery)."""

    proposal: Proposal
    answer: EvaluateOfferPolicyResponse
    truth: float

    def estimate(self, name: str) -> PolicyEstimate:
        """Return one of ESTIMATES."""
        found: PolicyEstimate = getattr(self.answer, name)
        return found

    def holds(self, name: str) -> bool:
        """Whether the 90 % interval of an estimate holds the true value."""
        interval = self.estimate(name).interval
        return interval.lower <= self.truth <= interval.upper


async def ask_policy(optimizer: OptimizerServiceStub, proposal: Proposal) -> Judged | str:
    """Ask what a policy would have earned; the reason of a refusal."""
    request = EvaluateOfferPolicyRequest(
        campaign_ids=[campaign_id(proposal.log.campaign)],
        rules=[
            OfferPolicyRule(
                segment_name=rule.segment_name or "",
                choices=[
                    OfferChoice(offer_amount=choice.offer_micros / MICROS, probability=choice.probability)
                    for choice in rule.choices
                ],
            )
            for rule in proposal.policy.rules
        ],
        minimum_overlap=LEAST_OVERLAP,
    )
    try:
        answer = await optimizer.EvaluateOfferPolicy(request, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            return _reason(error)
        raise
    return await asyncio.to_thread(_judge, proposal, answer)


def _judge(proposal: Proposal, answer: EvaluateOfferPolicyResponse) -> Judged:
    days = (date.fromisoformat(day).toordinal() for day in (answer.start_date, answer.end_date))
    log = proposal.log.between(*days)
    return Judged(
        proposal=proposal,
        answer=answer,
        truth=log.true_value(proposal.policy, log.covered(proposal.policy)),
    )


def _reason(error: grpc.aio.AioRpcError) -> str:
    content = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(bytes(content)).details:
        if detail.Unpack(info):
            return str(info.reason)
    return error.code().name


async def report(evaluation: Evaluation) -> None:
    """Print the policies' part of the table."""
    logs = await asyncio.to_thread(drawn_logs, evaluation.world, by_utc_day=True)
    proposals = [
        Proposal(name=name, log=log, policy=policy) for log in logs for name, policy in propose(log).items()
    ]
    impossible = [Proposal(name="never drawn", log=log, policy=never_drawn(log)) for log in logs]
    optimizer = evaluation.optimizer
    print(f"\nprofit per delivery of {len(proposals)} proposed policies, from logged propensities")
    try:
        answers = await ask_each(proposals, lambda each: ask_policy(optimizer, each))
        refusals = await ask_each(impossible, lambda each: ask_policy(optimizer, each))
    except NotServedError:
        print_line("recommended", "not served yet")
        return
    judged = [each for each in answers if isinstance(each, Judged)]
    _print_some(judged)
    _print_all(judged)
    print_line("refused", _count([each for each in answers if isinstance(each, str)]) or "none")
    print_line(
        "an offer never drawn",
        f"refused for {sum(each == 'OVERLAP_MISSING' for each in refusals)} of {len(refusals)} campaigns",
    )


def _count(reasons: Sequence[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common())


def _print_some(judged: Sequence[Judged]) -> None:
    print(f"  {'policy':<32} {'true':>6} {'ips':>6} {'snips':>6} {'doubly robust':>24} {'eff.':>7}")
    for place in np.unique(np.linspace(0, len(judged) - 1, min(LINES, len(judged))).astype(int)):
        each = judged[place]
        robust = each.answer.doubly_robust
        interval = f"{robust.value:.2f} ({robust.interval.lower:.2f} to {robust.interval.upper:.2f})"
        print(
            f"  {campaign_id(each.proposal.log.campaign) + ', ' + each.proposal.name:<32} {each.truth:6.2f}"
            f" {each.answer.ips.value:6.2f} {each.answer.snips.value:6.2f} {interval:>23}"
            f"{' ' if each.holds('doubly_robust') else '*'} {each.answer.effective_sample_size:7.0f}"
        )
    print("  (*: the interval does not hold the true value)")


def _print_all(judged: Sequence[Judged]) -> None:
    if not judged:
        return
    truths = np.array([each.truth for each in judged])
    sizes = np.array([each.answer.effective_sample_size for each in judged])
    print_line(
        "true value",
        f"{truths.mean():.2f} on average; {len(judged)} answered, effective deliveries {sizes.mean():.0f}",
    )
    for name in ESTIMATES:
        misses = [abs(each.estimate(name).value - each.truth) for each in judged]
        held = np.mean([each.holds(name) for each in judged])
        print_line(name.replace("_", " "), f"mean miss {np.mean(misses):.2f}, 90 % intervals hold {held:.1%}")
