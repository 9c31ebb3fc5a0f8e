"""The table of policies: what is asked, judged and counted, with a stand-in for the running system."""

from dataclasses import dataclass, field
from datetime import date
from typing import cast

import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from examples.simulated_world.drawn import DrawnLog, drawn_logs, propose
from examples.simulated_world.evaluate import policies
from examples.simulated_world.evaluate.asking import Evaluation
from examples.simulated_world.messages import campaign_id
from examples.simulated_world.truth import Truth
from examples.simulated_world.world import World
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from gen.campaigns.optimizer.v1.policies_pb2 import EvaluateOfferPolicyRequest, EvaluateOfferPolicyResponse
from gen.campaigns.type.v1.range_pb2 import ConfidenceInterval

LAST_DAY = date(2026, 11, 21)
FIRST, LAST = date(2026, 10, 1).toordinal(), date(2026, 11, 17).toordinal()


@pytest.fixture(scope="module")
def logs() -> list[DrawnLog]:
    """A twentieth of the world; campaigns whose policies all overlap with it somewhere."""
    logs = drawn_logs(World.build(seed=1, end_date=LAST_DAY), by_utc_day=True, scale=0.05)
    asked = [(log, log.between(FIRST, LAST)) for log in logs]
    return [log for log, part in asked if all(part.covered(each).any() for each in propose(log).values())]


@dataclass(kw_only=True)
class System:
    """Knows the offers that were drawn, refuses others, and claims 4 to 6 for every policy."""

    offers: dict[str, set[int]]
    asked: list[EvaluateOfferPolicyRequest] = field(default_factory=list)

    async def EvaluateOfferPolicy(
        self, request: EvaluateOfferPolicyRequest, **options: float
    ) -> EvaluateOfferPolicyResponse:
        assert options["timeout"] > 0
        self.asked.append(request)
        (campaign,) = request.campaign_ids
        wanted = {round(choice.offer_amount * 1_000_000) for rule in request.rules for choice in rule.choices}
        if not wanted <= self.offers[campaign]:
            raise refusal("OVERLAP_MISSING")
        answer = EvaluateOfferPolicyResponse(
            start_date="2026-10-01", end_date="2026-11-17", effective_sample_size=7.0
        )
        for name in policies.ESTIMATES:
            getattr(answer, name).value = 5.0
            getattr(answer, name).interval.CopyFrom(ConfidenceInterval(lower=4.0, upper=6.0))
        return answer


def refusal(reason: str) -> grpc.aio.AioRpcError:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason))
    content = status_pb2.Status(details=[detail]).SerializeToString()
    return grpc.aio.AioRpcError(
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(("grpc-status-details-bin", content)),
    )


async def test_the_table_counts_what_is_held_and_what_is_refused(
    logs: list[DrawnLog], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = logs[0].world
    monkeypatch.setattr(policies, "drawn_logs", lambda *_, **__: logs)
    offers = {campaign_id(log.campaign): set(log.sent.offer_micros.tolist()) for log in logs}
    system = System(offers=offers)
    optimizer = cast("OptimizerServiceStub", system)
    await policies.report(Evaluation(optimizer=optimizer, world=world, truth=Truth.of(world), users=[]))
    printed = capsys.readouterr().out
    truths = [
        log.between(FIRST, LAST).true_value(policy, log.between(FIRST, LAST).covered(policy))
        for log in logs
        for policy in propose(log).values()
    ]
    assert len(logs) > 20
    held = np.mean([4.0 <= truth <= 6.0 for truth in truths])
    assert f"{np.mean(truths):.2f} on average; {len(truths)} answered, effective deliveries 7" in printed
    assert f"90 % intervals hold {held:.1%}" in printed
    assert f"refused for {len(logs)} of {len(logs)} campaigns" in printed
    assert len(system.asked) == len(truths) + len(logs)
