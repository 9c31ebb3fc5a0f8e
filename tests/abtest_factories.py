"""What tests of abtest build: a catalog, conversions, and a server in this process with a real stub."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from gen.campaigns.abtest.v1 import tests_pb2
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.domain.decision import as_strata
from services.abtest.domain.metrics import CONVERSION_RATE
from services.abtest.domain.model import DecisionMethod, EpochCounts, Group, GroupCounts, TestDesign
from services.abtest.domain.outcomes import MetricOutcome, Outcomes
from services.abtest.server import open_services
from services.abtest.settings import AbtestSettings
from services.common.grpc_server import build_server

CONTROL_CAMPAIGN, VARIANT_CAMPAIGN = "camp_control", "camp_variant"
CONVERTED = 4


def design(
    *,
    target_sample_size: int = 1000,
    confidence_level: float = 0.95,
    decision_method: DecisionMethod = DecisionMethod.ANYTIME,
    minimum_detectable_effect: float | None = None,
) -> TestDesign:
    return TestDesign(
        test_name="offers",
        groups=(
            Group(name="control", campaign_id=CONTROL_CAMPAIGN),
            Group(name="variant", campaign_id=VARIANT_CAMPAIGN),
        ),
        target_sample_size=target_sample_size,
        confidence_level=confidence_level,
        decision_method=decision_method,
        minimum_detectable_effect=minimum_detectable_effect,
        seed="seed",
    )


def epoch(
    control: tuple[int, int],
    variant: tuple[int, int],
    *,
    number: int = 1,
    weights: Sequence[float] = (0.5, 0.5),
) -> EpochCounts:
    """Counts as (conversions, users) per group."""
    return EpochCounts(
        epoch=number,
        weights=tuple(weights),
        groups=tuple(
            GroupCounts(users=users, conversions=conversions) for conversions, users in (control, variant)
        ),
    )


def conversion_outcomes(
    epochs: Sequence[EpochCounts], horizon: Sequence[EpochCounts] | None = None
) -> Outcomes:
    """The outcomes of a test that measures conversions alone; `horizon`: of those who came in time."""
    return Outcomes(
        epochs=tuple(epochs),
        metrics=(MetricOutcome(metric=CONVERSION_RATE, strata=tuple(as_strata(epochs))),),
        cohort=None
        if horizon is None
        else (MetricOutcome(metric=CONVERSION_RATE, strata=tuple(as_strata(horizon))),),
        cohort_users=None
        if horizon is None
        else sum(counts.users for each in horizon for counts in each.groups),
    )


async def add_campaigns(
    admin_url: str, campaign_ids: Iterable[str] = (CONTROL_CAMPAIGN, VARIANT_CAMPAIGN)
) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.executemany(
            "insert into analytics.campaigns (campaign_id) values ($1)", [(name,) for name in campaign_ids]
        )
    finally:
        await connection.close()


async def add_events(
    admin_url: str, events: Iterable[tuple[str, str, datetime]], *, event_type: int = CONVERTED
) -> None:
    """Add events (campaign_id, user_id, time) as analytics would keep them."""
    rows = [
        (user_id, f"{campaign_id}-{event_type}-{index}", campaign_id, time, event_type)
        for index, (campaign_id, user_id, time) in enumerate(events)
    ]
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.executemany(
            "insert into analytics.events (user_id, event_id, campaign_id, event_at, counted_at, event_type,"
            " stamped_fields, is_machine_open, currency_code)"
            " values ($1, $2, $3, $4, $4, $5, 0, false, 'USD')",
            rows,
        )
    finally:
        await connection.close()


@asynccontextmanager
async def running_server(
    database_url: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncIterator[ABTestServiceStub]:
    """A real server on a free loopback port, and a stub that calls it."""
    async with running_channel(database_url, now=now) as channel:
        yield ABTestServiceStub(channel)


@asynccontextmanager
async def running_channel(
    database_url: str,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **settings: Any,  # noqa: ANN401 (settings by name)
) -> AsyncIterator[grpc.aio.Channel]:
    """A real server on a free loopback port that runs no jobs unless it is told to, and a way to it."""
    given = {"jobs_enabled": False, "simulation_timeout_seconds": 600} | settings
    wanted = AbtestSettings(database_url=database_url, port=0, metrics_port=0, **given)
    async with open_services(wanted, now=now) as (services, _):
        server = build_server(settings=wanted, services=services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield channel
        finally:
            await server.stop(grace=None)


def a_test(**fields: Any) -> tests_pb2.CreateTestRequest:  # noqa: ANN401 (a request's fields)
    """A test that places the same users alike at every run, as its id alone, which is drawn, would not."""
    values: dict[str, Any] = {
        "test_name": "Offer Amount A/B Test",
        "control_campaign_id": CONTROL_CAMPAIGN,
        "variant_campaign_id": VARIANT_CAMPAIGN,
        "target_sample_size": 1000,
        "confidence_level": 0.95,
        "hash_seed": "seed",
    }
    return tests_pb2.CreateTestRequest(**(values | fields))


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Return the code, the reason, and the violations by field of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(request)
    assert info.domain == "campaigns.abtest.v1.ABTestService"
    return (
        caught.value.code(),
        info.reason,
        {violation.field: violation.description for violation in request.field_violations},
    )
