"""Every unary read of AnalyticsService against a bare echo of the same message sizes.

Both servers are one process each, on the same library and event loop, and one Python client asks both in
turns, with the same number of calls in flight. Client, servers and database share the machine. Requests go
over the campaigns of a simulated world. Nothing is written meanwhile: answers are kept for a second, and most
calls are given a kept one. What a call costs that makes its answer is measured beside it.
"""

import asyncio
import itertools
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import perf_counter

import asyncpg
import grpc
from google.protobuf.message import Message

from benchmarks.common import Mark, free_port, running_database, running_server, say
from benchmarks.echo_server import PREFIX
from examples.ingestion import Ingestion
from examples.simulated_world.loading import History, load
from examples.simulated_world.messages import campaign_messages, merchant_messages
from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import (
    attribution_pb2,
    audience_pb2,
    comparison_pb2,
    costs_pb2,
    forecasts_pb2,
    merchants_pb2,
    operations_service_pb2,
    ranking_pb2,
)
from gen.campaigns.analytics.v1.operations_service_pb2_grpc import OperationsServiceStub

SERVICE = "/campaigns.analytics.v1.AnalyticsService/"
PASS_MARK = 0.45
SCALE = 0.1
"""How much of the demo's events are loaded."""
DIFFERENT_REQUESTS = 64
_JOB_SECONDS = 300.0
Call = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Read:
    """One kind of request to one RPC: what it is called in the table, and the requests, taken in turn."""

    name: str
    method: str
    requests: Sequence[Message]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Calls in flight, and how many turns of how many seconds every candidate has."""

    concurrency: int
    seconds: float
    turns: int


def build_reads(history: History) -> Sequence[Read]:
    """Return the reads of every unary read RPC over a world."""
    today = history.as_of.astimezone(UTC).date()
    campaigns = [one.campaign_id for one in campaign_messages(history.world)][:DIFFERENT_REQUESTS]
    merchants = [one.merchant_id for one in merchant_messages(history.world)]
    days = [today - timedelta(days=40 + number % 30) for number in range(DIFFERENT_REQUESTS)]

    def days_before(number: int) -> str:
        return (today - timedelta(days=number)).isoformat()

    def per_campaign(name: str, method: str, request: type[Message], **fields: object) -> Read:
        made = [request(campaign_id=campaign, **fields) for campaign in campaigns]
        return Read(name=name, method=method, requests=made)

    def single(name: str, method: str, request: Message) -> Read:
        return Read(name=name, method=method, requests=[request])

    last_30_days = {"start_date": days_before(29), "end_date": days_before(0)}
    return [
        per_campaign("GetCampaignMetrics (life)", "GetCampaignMetrics", pb.GetCampaignMetricsRequest),
        per_campaign(
            "GetCampaignMetrics (30 days)",
            "GetCampaignMetrics",
            pb.GetCampaignMetricsRequest,
            **last_30_days,
        ),
        per_campaign("GetCampaignSegments", "GetCampaignSegments", audience_pb2.GetCampaignSegmentsRequest),
        per_campaign(
            "GetCampaignTrend (30 days)", "GetCampaignTrend", pb.GetCampaignTrendRequest, **last_30_days
        ),
        per_campaign("GetCampaignChannels", "GetCampaignChannels", pb.GetCampaignChannelsRequest),
        per_campaign("GetCampaignRoi", "GetCampaignRoi", pb.GetCampaignRoiRequest),
        single("GetPortfolioPerformance", "GetPortfolioPerformance", pb.GetPortfolioPerformanceRequest()),
        single("ListTopCampaigns", "ListTopCampaigns", ranking_pb2.ListTopCampaignsRequest()),
        Read(
            name="GetCohortPerformance",
            method="GetCohortPerformance",
            requests=[audience_pb2.GetCohortPerformanceRequest(cohort_date=day.isoformat()) for day in days],
        ),
        single("ListCohorts", "ListCohorts", audience_pb2.ListCohortsRequest()),
        single("ListRfmSegments", "ListRfmSegments", audience_pb2.ListRfmSegmentsRequest()),
        Read(
            name="CompareCampaigns (2)",
            method="CompareCampaigns",
            requests=[
                comparison_pb2.CompareCampaignsRequest(campaign_ids=pair)
                for pair in itertools.pairwise([*campaigns, campaigns[0]])
            ],
        ),
        Read(
            name="GetMerchantPerformance",
            method="GetMerchantPerformance",
            requests=[
                merchants_pb2.GetMerchantPerformanceRequest(merchant_id=number) for number in merchants
            ],
        ),
        per_campaign("GetCampaignForecast", "GetCampaignForecast", forecasts_pb2.GetCampaignForecastRequest),
        single("GetPortfolioForecast", "GetPortfolioForecast", forecasts_pb2.GetPortfolioForecastRequest()),
        per_campaign("GetAttribution", "GetAttribution", attribution_pb2.GetAttributionRequest),
        single(
            "GetPortfolioAttribution",
            "GetPortfolioAttribution",
            attribution_pb2.GetPortfolioAttributionRequest(model="linear"),
        ),
        per_campaign("ListCosts", "ListCosts", costs_pb2.ListCostsRequest),
    ]


async def measure_rpcs(*, concurrency: int, seconds: float, turns: int) -> list[Mark]:
    """Load a world, run its jobs, and return each read's calls per second by the echo's."""
    history = History.build(seed=1, as_of=datetime.now(UTC), scale=SCALE)
    async with running_database({"fsync": "off"}) as addresses:
        environment = {"ANALYTICS_DATABASE_URL": addresses.analytics}
        async with _running_analytics(environment) as address:
            await _load(history, address)
            await _run_jobs(address)
            await _run_jobs(address)  # the forecasts' job looks twice whether history stands still
        await _vacuum(addresses.admin)
        # The last of ingestion's garbage goes, and no job interferes with the measurement.
        environment["ANALYTICS_JOBS_ENABLED"] = "false"
        forgetful = {**environment, "ANALYTICS_KEPT_ANSWER_SECONDS": "0"}
        echo_port = free_port()
        pace = Pace(concurrency=concurrency, seconds=seconds, turns=turns)
        async with (
            _running_analytics(environment) as address,
            _running_analytics(forgetful) as forgetful_at,
            _running("benchmarks.echo_server", str(echo_port), port=echo_port, environment={}) as echo_at,
            grpc.aio.insecure_channel(address) as channel,
            grpc.aio.insecure_channel(forgetful_at) as forgetful_channel,
            grpc.aio.insecure_channel(echo_at) as echo,
        ):
            reads = build_reads(history)
            marks = [await _compare(read, channel, echo, pace, limit=PASS_MARK) for read in reads]
            for read in reads:
                anew = replace(read, name=f"{read.name}, made anew")
                marks.append(await _compare(anew, forgetful_channel, echo, pace, limit=None))
    return [mark for mark in marks if mark is not None]


async def _load(history: History, address: str) -> None:
    async with Ingestion.open(address, batch_size=10_000, in_flight=3) as ingestion:
        say(f"loaded: {await load(history, ingestion)}")


async def _vacuum(admin_url: str) -> None:
    """Do at once what autovacuum does within its first minute."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute("vacuum (analyze)")
    finally:
        await connection.close()


async def _run_jobs(address: str) -> None:
    """Run every job once, so that what jobs prepare is there to be read."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = OperationsServiceStub(channel)
        jobs = (await stub.ListJobs(operations_service_pb2.ListJobsRequest())).jobs
        for job in jobs:
            await stub.RunJob(operations_service_pb2.RunJobRequest(job_name=job.job_name))
        asked = {job.job_name: job.last_finished_time.ToDatetime() for job in jobs}
        deadline = perf_counter() + _JOB_SECONDS
        while asked and perf_counter() < deadline:
            await asyncio.sleep(0.2)
            for job in (await stub.ListJobs(operations_service_pb2.ListJobsRequest())).jobs:
                finished = job.last_finished_time.ToDatetime()
                if job.job_name in asked and finished > asked[job.job_name]:
                    del asked[job.job_name]
                    say(f"job {job.job_name}: {job.last_error or job.last_result}")
        for name in asked:
            say(f"job {name}: not finished in {_JOB_SECONDS:.0f} s")


async def _compare(
    read: Read, channel: grpc.aio.Channel, echo: grpc.aio.Channel, pace: Pace, *, limit: float | None
) -> Mark | None:
    payloads = [request.SerializeToString() for request in read.requests]
    call = _bytes_call(channel, f"{SERVICE}{read.method}")
    try:
        sizes = [len(await call(payload)) for payload in payloads]
    except grpc.aio.AioRpcError as error:
        say(f"{read.name}: not measured, {error.code().name}: {error.details()}")
        return None
    size = round(statistics.median(sizes))
    echoed = _bytes_call(echo, f"{PREFIX}{size}")
    ratios, rates, echo_rates = [], [], []
    for turn in range(pace.turns):
        order = (call, echoed) if turn % 2 else (echoed, call)
        measured = {one: await _calls_per_second(one, payloads, pace) for one in order}
        ratios.append(measured[call] / measured[echoed])
        rates.append(measured[call])
        echo_rates.append(measured[echoed])
    detail = f"{statistics.median(rates):.0f}/s of {statistics.median(echo_rates):.0f}/s, {size} bytes"
    return Mark(name=read.name, value=statistics.median(ratios), limit=limit, at_most=False, detail=detail)


def _bytes_call(channel: grpc.aio.Channel, path: str) -> Call:
    """Return a method that takes and gives bytes, so that messages cost the client nothing on either side."""
    method: Call = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    return method


async def _calls_per_second(call: Call, payloads: Sequence[bytes], pace: Pace) -> float:
    turn = itertools.cycle(payloads)
    finished = 0
    started = perf_counter()
    until = started + pace.seconds

    async def work() -> None:
        nonlocal finished
        while perf_counter() < until:
            await call(next(turn))
            finished += 1

    await asyncio.gather(*(work() for _ in range(pace.concurrency)))
    return finished / (perf_counter() - started)


def _running_analytics(environment: Mapping[str, str]) -> AbstractAsyncContextManager[str]:
    port = free_port()
    settings = {
        "ANALYTICS_PORT": str(port),
        "ANALYTICS_METRICS_PORT": str(free_port()),
        "ANALYTICS_DRAIN_SECONDS": "0",
        "ANALYTICS_LOG_LEVEL": "INFO",
    }
    return _running("services.analytics", port=port, environment={**settings, **environment})


def _running(*command: str, port: int, environment: Mapping[str, str]) -> AbstractAsyncContextManager[str]:
    """Run a module's server until the end of the block, which has its address."""
    return running_server(
        [sys.executable, "-m", *command], port=port, environment=environment, output=subprocess.DEVNULL
    )
