"""Small services behind a gateway that answer with what shows its work, and note what reaches them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gen.campaigns.abtest.v1 import abtest_service_pb2_grpc
from gen.campaigns.analytics.v1 import (
    analytics_service_pb2,
    analytics_service_pb2_grpc,
    catalog_service_pb2_grpc,
    comparison_pb2,
    metrics_pb2,
)
from gen.campaigns.optimizer.v1 import offers_pb2, optimizer_service_pb2_grpc, training_pb2
from gen.inference import grpc_service_pb2, grpc_service_pb2_grpc
from services.common import errors
from services.common.grpc_server import Service, build_server
from services.common.settings import ServiceSettings

SERVICES = ("analytics", "abtest", "optimizer", "model_server")
HASTY_SECONDS = 1.0
"""What the hasty gateway gives a call."""
LIMIT_SECONDS = 120.0
"""What nothing takes that ends at all; the other gateway gives it to a call."""
_SERVING = health_pb2.HealthCheckResponse.ServingStatus.Value("SERVING")
_NOT_SERVING = health_pb2.HealthCheckResponse.ServingStatus.Value("NOT_SERVING")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Recorder:
    """What reached the services, for tests to look at; tests reset it by reading."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.metadata: list[dict[str, str]] = []
        self.release = threading.Event()

    def note(self, request: Message, context: Context) -> None:
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})


class Recorded:
    """A service that notes what it is asked."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder


class Analytics(Recorded, analytics_service_pb2_grpc.AnalyticsServiceServicer):
    """Answers with what shows the gateway's work; a campaign's id says what is to go wrong."""

    async def GetCampaignMetrics(
        self, request: analytics_service_pb2.GetCampaignMetricsRequest, context: Context
    ) -> analytics_service_pb2.GetCampaignMetricsResponse:
        self._recorder.note(request, context)
        if request.campaign_id == "slow":
            await asyncio.sleep(LIMIT_SECONDS)
        if request.campaign_id.startswith("flaky") and self._calls(request) == 1:
            raise errors.UnavailableError("not now", reason="DATABASE_UNAVAILABLE")
        if error := _ERRORS.get(request.campaign_id):
            raise error
        return analytics_service_pb2.GetCampaignMetricsResponse(
            campaign_id=request.campaign_id, impressions=9_007_199_254_740_993, revenue=12.5, roas=0.0
        )

    async def GetPortfolioPerformance(
        self, request: analytics_service_pb2.GetPortfolioPerformanceRequest, context: Context
    ) -> analytics_service_pb2.GetPortfolioPerformanceResponse:
        self._recorder.note(request, context)
        return analytics_service_pb2.GetPortfolioPerformanceResponse(total_campaigns=3)

    async def CompareCampaigns(
        self, request: comparison_pb2.CompareCampaignsRequest, context: Context
    ) -> comparison_pb2.CompareCampaignsResponse:
        self._recorder.note(request, context)
        return comparison_pb2.CompareCampaignsResponse()

    async def IngestEvents(
        self, request: analytics_service_pb2.IngestEventsRequest, context: Context
    ) -> analytics_service_pb2.IngestEventsResponse:
        self._recorder.note(request, context)
        if any(event.event_id == "unavailable" for event in request.events):
            raise errors.UnavailableError("not now", reason="DATABASE_UNAVAILABLE")
        return analytics_service_pb2.IngestEventsResponse(accepted_count=len(request.events))

    async def IngestEventStream(
        self, requests: AsyncIterator[analytics_service_pb2.IngestEventStreamRequest], context: Context
    ) -> analytics_service_pb2.IngestEventStreamResponse:
        del context
        count = 0
        async for request in requests:
            count += len(request.events)
        return analytics_service_pb2.IngestEventStreamResponse(accepted_count=count)

    async def WatchCampaign(
        self, request: analytics_service_pb2.WatchCampaignRequest, context: Context
    ) -> AsyncIterator[analytics_service_pb2.WatchCampaignResponse]:
        self._recorder.note(request, context)
        if error := _ERRORS.get(request.campaign_id):
            raise error
        for views in range(2):
            yield analytics_service_pb2.WatchCampaignResponse(
                metrics=metrics_pb2.CampaignMetrics(campaign_id=request.campaign_id, views=views)
            )
            # Longer than a unary call may take, unless the test has seen the first message before.
            await asyncio.to_thread(self._recorder.release.wait, HASTY_SECONDS * 2)

    def _calls(self, request: Message) -> int:
        return self._recorder.requests.count(request)


class Optimizer(Recorded, optimizer_service_pb2_grpc.OptimizerServiceServicer):
    """Answers an offer at once, and a training after longer than a hasty gateway waits."""

    async def OptimizeOffer(
        self, request: offers_pb2.OptimizeOfferRequest, context: Context
    ) -> offers_pb2.OptimizeOfferResponse:
        self._recorder.note(request, context)
        return offers_pb2.OptimizeOfferResponse(offer_amount=12.5)

    async def TrainModel(
        self, request: training_pb2.TrainModelRequest, context: Context
    ) -> training_pb2.TrainModelResponse:
        self._recorder.note(request, context)
        await asyncio.sleep(HASTY_SECONDS * 1.5)
        return training_pb2.TrainModelResponse(status="success", version=1)


class ModelServer(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Is live."""

    async def ServerLive(
        self, request: grpc_service_pb2.ServerLiveRequest, context: Context
    ) -> grpc_service_pb2.ServerLiveResponse:
        del request, context
        return grpc_service_pb2.ServerLiveResponse(live=True)


_ERRORS: dict[str, errors.DomainError] = {
    "missing": errors.NotFoundError(
        "no campaign 'missing'", reason="CAMPAIGN_UNKNOWN", metadata={"campaign_id": "missing"}
    ),
    "invalid": errors.invalid_fields(
        [
            errors.FieldViolation(field="start_date", description="is no date", reason="DATE_INVALID"),
            errors.FieldViolation(field="events[3].revenue", description="is negative"),
        ]
    ),
    "exhausted": errors.ResourceExhaustedError("too many", reason="TOO_MANY_WAITING"),
    "aborted": errors.AbortedError("again", reason="CONCURRENT_UPDATE"),
    "early": errors.FailedPreconditionError("train first", reason="MODEL_NOT_TRAINED"),
    "late": errors.DeadlineExceededError("too slow", reason="DATABASE_DEADLINE_EXCEEDED"),
    "broken": errors.InternalError("something is broken here", reason="INTERNAL"),
}


class Backends:
    """Four services on free ports, in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.ports: dict[str, int] = {}
        self._health: dict[str, health.aio.HealthServicer] = {}
        self._servers: list[grpc.aio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._run(self._start())

    def stop(self) -> None:
        self.recorder.release.set()
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set_serving(self, name: str, *, serving: bool) -> None:
        """Change what one service says of its health."""
        self._run(self._health[name].set("", _SERVING if serving else _NOT_SERVING))

    def _run(self, work: Any) -> None:  # noqa: ANN401 - a coroutine of anything
        future: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.result(timeout=LIMIT_SECONDS)

    async def _start(self) -> None:
        registrations: dict[str, list[Callable[[grpc.aio.Server], None]]] = {
            "analytics": [
                partial(
                    analytics_service_pb2_grpc.add_AnalyticsServiceServicer_to_server,
                    Analytics(self.recorder),
                ),
                partial(
                    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server,
                    catalog_service_pb2_grpc.CatalogServiceServicer(),
                ),
            ],
            "abtest": [
                partial(
                    abtest_service_pb2_grpc.add_ABTestServiceServicer_to_server,
                    abtest_service_pb2_grpc.ABTestServiceServicer(),
                )
            ],
            "optimizer": [
                partial(
                    optimizer_service_pb2_grpc.add_OptimizerServiceServicer_to_server,
                    Optimizer(self.recorder),
                )
            ],
            "model_server": [
                partial(grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server, ModelServer())
            ],
        }
        for name, register in registrations.items():
            server = build_server(
                settings=ServiceSettings(),
                services=[Service(name=f"test.{name}", register=one) for one in register],
            )
            self._health[name] = health.aio.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(self._health[name], server)
            await self._health[name].set("", _SERVING)
            self.ports[name] = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            self._servers.append(server)

    async def _stop(self) -> None:
        for server in self._servers:
            await server.stop(None)
