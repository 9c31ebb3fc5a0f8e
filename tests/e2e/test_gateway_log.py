"""The access log has a line for each call that failed, whatever it spoke, and none for those that did not."""

import uuid
from contextlib import suppress

import grpc

from gen.campaigns.analytics.v1 import analytics_service_pb2_grpc
from gen.campaigns.analytics.v1.analytics_service_pb2 import GetCampaignMetricsRequest
from tests.e2e.gateway_stand import Gateway
from tests.e2e.test_gateway_grpc import GET_METRICS, frame


async def call_by_rest(gateway: Gateway, campaign_id: str) -> str:
    request_id = str(uuid.uuid4())
    gateway.get(f"/api/analytics/campaign/{campaign_id}/metrics", **{"x-request-id": request_id})
    return request_id


async def call_by_web(gateway: Gateway, campaign_id: str) -> str:
    request_id = str(uuid.uuid4())
    headers = {
        "content-type": "application/grpc-web+proto",
        "x-grpc-web": "1",
        "x-request-id": request_id,
    }
    body = frame(GetCampaignMetricsRequest(campaign_id=campaign_id))
    gateway.call("POST", GET_METRICS, body=body, headers=headers)
    return request_id


async def call_by_grpc(gateway: Gateway, campaign_id: str) -> str:
    request_id = str(uuid.uuid4())
    asked = GetCampaignMetricsRequest(campaign_id=campaign_id)
    async with grpc.aio.insecure_channel(gateway.target) as channel:
        stub = analytics_service_pb2_grpc.AnalyticsServiceStub(channel)
        with suppress(grpc.aio.AioRpcError):
            await stub.GetCampaignMetrics(asked, metadata=[("x-request-id", request_id)])
    return request_id


CALLS = [call_by_rest, call_by_web, call_by_grpc]


async def test_calls_that_nobody_answers_are_found_by_their_id(lonely_gateway: Gateway) -> None:
    lines = lonely_gateway.until_logged(*[await call(lonely_gateway, "c1") for call in CALLS])

    assert [line["status"] for line in lines] == [503, 503, 200]
    assert [line["flags"] for line in lines] == ["UH"] * 3
    assert [line["grpc_status"] for line in lines[1:]] == ["Unavailable"] * 2


async def test_only_calls_that_failed_have_lines(gateway: Gateway) -> None:
    fine = [await call(gateway, campaign_id) for call in CALLS for campaign_id in ("c1", "missing")]
    lines = gateway.until_logged(*[await call(gateway, "broken") for call in CALLS])

    assert [line["status"] for line in lines] == [500, 200, 200]
    assert [line["grpc_status"] for line in lines[1:]] == ["Internal"] * 2
    stray = [line for line in gateway.logged_calls() if line["request_id"] in fine]
    assert stray == []
