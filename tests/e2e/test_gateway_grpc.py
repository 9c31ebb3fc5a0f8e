"""gRPC and gRPC-Web through a real Envoy, and what it says itself to callers of both."""

import base64
import json
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from urllib.parse import unquote

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gen.campaigns.abtest.v1 import abtest_service_pb2_grpc, progress_pb2
from gen.campaigns.analytics.v1 import (
    analytics_service_pb2,
    analytics_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    events_pb2,
)
from gen.campaigns.optimizer.v1 import offers_pb2, optimizer_service_pb2_grpc
from gen.inference import grpc_service_pb2, grpc_service_pb2_grpc
from tests.e2e.gateway_backends import HASTY_SECONDS
from tests.e2e.gateway_stand import DESCRIPTORS, Answer, Gateway
from tools.generate import tool_script

GET_METRICS = "/campaigns.analytics.v1.AnalyticsService/GetCampaignMetrics"


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(gateway.target) as opened:
        yield opened


def metrics_request(campaign_id: str) -> analytics_service_pb2.GetCampaignMetricsRequest:
    return analytics_service_pb2.GetCampaignMetricsRequest(campaign_id=campaign_id)


class TestGrpc:
    async def test_a_call_reaches_its_service(self, channel: grpc.aio.Channel) -> None:
        answer = await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).GetCampaignMetrics(
            metrics_request("c1")
        )

        assert answer.campaign_id == "c1"
        assert answer.HasField("roas")
        assert not answer.HasField("roi")

    async def test_every_package_has_its_service(self, channel: grpc.aio.Channel) -> None:
        catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        abtest = abtest_service_pb2_grpc.ABTestServiceStub(channel)
        optimizer = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

        for call in (
            catalog.ListUsers(catalog_service_pb2.ListUsersRequest()),
            abtest.GetTestStatus(progress_pb2.GetTestStatusRequest(test_id="t1")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
            assert "is not offered by this version" in str(caught.value.details())
        offer = await optimizer.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id="c1"))
        live = await grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(
            grpc_service_pb2.ServerLiveRequest()
        )
        assert (offer.offer_amount, live.live) == (12.5, True)

    async def test_a_client_may_stream(self, channel: grpc.aio.Channel) -> None:
        async def batches() -> AsyncIterator[analytics_service_pb2.IngestEventStreamRequest]:
            for size in (1, 2, 3):
                yield analytics_service_pb2.IngestEventStreamRequest(events=[events_pb2.Event()] * size)

        answer = await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).IngestEventStream(batches())

        assert answer.accepted_count == 6

    async def test_a_service_may_stream(self, gateway: Gateway, channel: grpc.aio.Channel) -> None:
        gateway.recorder.release.clear()
        stub = analytics_service_pb2_grpc.AnalyticsServiceStub(channel)
        seen = []

        async for update in stub.WatchCampaign(analytics_service_pb2.WatchCampaignRequest(campaign_id="c1")):
            seen.append(update.metrics.views)
            gateway.recorder.release.set()

        assert seen == [0, 1]

    async def test_an_error_keeps_its_details(self, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).GetCampaignMetrics(
                metrics_request("invalid")
            )

        trailers = dict(caught.value.trailing_metadata() or ())
        status = status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))
        request = error_details_pb2.BadRequest()
        assert status.details[1].Unpack(request)
        assert [violation.field for violation in request.field_violations] == [
            "start_date",
            "events[3].revenue",
        ]

    async def test_a_message_over_the_limit_is_refused_by_the_service(
        self, channel: grpc.aio.Channel
    ) -> None:
        events = [events_pb2.Event(event_id="x" * 1024)] * (16 * 1024 + 1)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).IngestEvents(
                analytics_service_pb2.IngestEventsRequest(events=events)
            )

        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    @pytest.mark.parametrize(
        "method",
        [
            "/foo.Bar/Baz",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/api/analytics/portfolio",
        ],
    )
    async def test_unknown_services_are_unimplemented(self, channel: grpc.aio.Channel, method: str) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(method, bytes, bytes)(b"")

        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "no service behind this gateway has this name" in str(caught.value.details())

    async def test_a_service_that_takes_too_long_is_unavailable(self, hasty_gateway: Gateway) -> None:
        async with grpc.aio.insecure_channel(hasty_gateway.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).GetCampaignMetrics(
                    metrics_request("slow")
                )

        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "upstream request timeout",
        )

    async def test_the_callers_own_deadline_comes_first(self, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).GetCampaignMetrics(
                metrics_request("slow"), timeout=HASTY_SECONDS / 4
            )

        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    async def test_a_service_that_is_down_is_unavailable(self, lonely_gateway: Gateway) -> None:
        async with grpc.aio.insecure_channel(lonely_gateway.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await analytics_service_pb2_grpc.AnalyticsServiceStub(channel).GetCampaignMetrics(
                    metrics_request("c1")
                )

        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "no healthy upstream",
        )


def test_buf_curl_needs_only_the_descriptor_set(gateway: Gateway) -> None:
    done = subprocess.run(
        [
            *(tool_script("buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
            *("--schema", DESCRIPTORS, "--data", '{"campaign_id": "c1"}'),
            f"http://{gateway.target}{GET_METRICS}",
        ],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["campaignId"] == "c1"


def frame(message: Message) -> bytes:
    content = message.SerializeToString()
    return struct.pack(">BI", 0, len(content)) + content


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(body):
        kind, size = struct.unpack_from(">BI", body, at)
        yield kind, body[at + 5 : at + 5 + size]
        at += 5 + size


def trailers(answer: Answer) -> dict[str, str]:
    """Return the trailers of a gRPC-Web answer: its last frame, or its headers where there is none."""
    for kind, content in frames(answer.body):
        if kind & 0x80:
            lines = content.decode().splitlines()
            return {key.lower(): value for key, _, value in (line.partition(":") for line in lines)}
    return dict(answer.headers)


class TestGrpcWeb:
    def call(self, gateway: Gateway, path: str, request: Message) -> Answer:
        headers = {
            "content-type": "application/grpc-web+proto",
            "x-grpc-web": "1",
            "origin": "http://localhost:5173",
        }
        return gateway.call("POST", path, body=frame(request), headers=headers)

    def test_a_call_is_answered_with_its_status_as_last_frame(self, gateway: Gateway) -> None:
        answer = self.call(gateway, GET_METRICS, metrics_request("c1"))

        message = next(content for kind, content in frames(answer.body) if kind == 0)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/grpc-web+proto"
        assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert analytics_service_pb2.GetCampaignMetricsResponse.FromString(message).campaign_id == "c1"
        assert trailers(answer)["grpc-status"] == "0"

    def test_text_frames_are_spoken_too(self, gateway: Gateway) -> None:
        answer = gateway.call(
            "POST",
            GET_METRICS,
            body=base64.b64encode(frame(metrics_request("c1"))),
            headers={"content-type": "application/grpc-web-text", "accept": "application/grpc-web-text"},
        )

        kind, content = next(frames(base64.b64decode(answer.body)))
        assert kind == 0
        assert analytics_service_pb2.GetCampaignMetricsResponse.FromString(content).campaign_id == "c1"

    def test_errors_of_services_keep_their_details(self, gateway: Gateway) -> None:
        answer = self.call(gateway, GET_METRICS, metrics_request("missing"))

        said = trailers(answer)
        details = base64.b64decode(said["grpc-status-details-bin"] + "==")
        assert (said["grpc-status"], unquote(said["grpc-message"])) == ("5", "no campaign 'missing'")
        assert status_pb2.Status.FromString(details).code == 5

    def test_a_stream_comes_in_frames(self, gateway: Gateway) -> None:
        gateway.recorder.release.set()
        path = "/campaigns.analytics.v1.AnalyticsService/WatchCampaign"

        answer = self.call(gateway, path, analytics_service_pb2.WatchCampaignRequest(campaign_id="c1"))

        assert [kind for kind, _ in frames(answer.body)] == [0, 0, 0x80]

    def test_the_gateways_own_errors_are_statuses(self, lonely_gateway: Gateway) -> None:
        answer = self.call(lonely_gateway, GET_METRICS, metrics_request("c1"))

        said = trailers(answer)
        assert (answer.status, said["grpc-status"]) == (503, "14")
        assert unquote(said["grpc-message"]) == "no healthy upstream"
