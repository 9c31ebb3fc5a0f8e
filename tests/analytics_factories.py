# ruff: noqa: ANN401 (values of any field of a message pass through here)
"""What tests of analytics are made of: a server in this process, events, and a catalog."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gen.campaigns.analytics.v1 import analytics_service_pb2 as pb
from gen.campaigns.analytics.v1 import catalog_service_pb2, events_pb2
from gen.campaigns.analytics.v1.alert_service_pb2_grpc import AlertServiceStub
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import CatalogServiceStub
from gen.campaigns.analytics.v1.export_service_pb2_grpc import ExportServiceStub
from gen.campaigns.analytics.v1.operations_service_pb2_grpc import OperationsServiceStub
from services.analytics.server import open_database, open_services
from services.analytics.settings import AnalyticsSettings
from services.common.grpc_server import build_server

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@dataclass(frozen=True, kw_only=True)
class Stubs:
    alerts: AlertServiceStub
    analytics: AnalyticsServiceStub
    catalog: CatalogServiceStub
    export: ExportServiceStub
    operations: OperationsServiceStub

    @classmethod
    def of(cls, channel: grpc.aio.Channel) -> "Stubs":
        return cls(
            alerts=AlertServiceStub(channel),
            analytics=AnalyticsServiceStub(channel),
            catalog=CatalogServiceStub(channel),
            export=ExportServiceStub(channel),
            operations=OperationsServiceStub(channel),
        )


def settings_for(url: str, **overrides: Any) -> AnalyticsSettings:
    return AnalyticsSettings(
        **{
            "database_url": url,
            "port": 0,
            "metrics_port": 0,
            "reporting_time_zone": "UTC",
            "jobs_enabled": False,
            **overrides,
        }
    )


@asynccontextmanager
async def running_channel(
    url: str, *, clock: Callable[[], datetime] = lambda: NOW, **overrides: Any
) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a server in this process."""
    settings = settings_for(url, **overrides)
    async with (
        open_database(settings) as database,
        open_services(settings, database, clock=clock, random=Random(1)) as opened,  # noqa: S311
    ):
        server = build_server(settings=settings, services=opened.services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
                yield channel
        finally:
            opened.end_streams()
            await server.stop(None)


@asynccontextmanager
async def running_server(
    url: str, *, clock: Callable[[], datetime] = lambda: NOW, **overrides: Any
) -> AsyncIterator[Stubs]:
    async with running_channel(url, clock=clock, **overrides) as channel:
        yield Stubs.of(channel)


def timestamp(text: str | datetime) -> Timestamp:
    time = datetime.fromisoformat(text) if isinstance(text, str) else text
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC).replace(tzinfo=None))
    return stamp


def event(event_id: str, kind: str = "DELIVERED", **fields: Any) -> events_pb2.Event:
    """An event of user u1 of campaign c1 on 2026-03-01, unless told otherwise; None leaves a field unset."""
    values: dict[str, Any] = {"user_id": "u1", "campaign_id": "c1", "event_time": "2026-03-01T10:00:00+00:00"}
    values.update(fields)
    if isinstance(values["event_time"], str | datetime):
        values["event_time"] = timestamp(values["event_time"])
    return events_pb2.Event(
        event_id=event_id,
        event_type=events_pb2.EventType.Value(f"EVENT_TYPE_{kind}"),
        **{name: value for name, value in values.items() if value is not None},
    )


def campaign(campaign_id: str, **fields: Any) -> catalog_service_pb2.Campaign:
    return catalog_service_pb2.Campaign(campaign_id=campaign_id, **{"campaign_type": 1, **fields})


async def add_catalog(stubs: Stubs, *campaigns: catalog_service_pb2.Campaign) -> None:
    """Merchants 1 (no currency) and 2 (EUR), and campaigns c1 and c2 unless others are given."""
    await stubs.catalog.UpsertMerchants(
        catalog_service_pb2.UpsertMerchantsRequest(
            merchants=[
                catalog_service_pb2.Merchant(merchant_id=1),
                catalog_service_pb2.Merchant(merchant_id=2, currency_code="EUR"),
            ]
        )
    )
    chosen = campaigns or (campaign("c1"), campaign("c2"))
    await stubs.catalog.UpsertCampaigns(catalog_service_pb2.UpsertCampaignsRequest(campaigns=chosen))


async def ingest(stubs: Stubs, *events: events_pb2.Event) -> pb.IngestEventsResponse:
    return await stubs.analytics.IngestEvents(pb.IngestEventsRequest(events=events))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A failed call: its code, its reason, and the fields at fault with their reasons."""

    code: str
    reason: str
    fields: dict[str, str]
    message: str


async def refusal(call: Any) -> Refusal:
    """Await a call that must fail, and say how."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    raise AssertionError("the call did not fail")


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Return what a failed call says."""
    failed: Any = error  # an ended call in all but its type
    status = rpc_status.from_call(failed)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(request)
    return Refusal(
        code=error.code().name,
        reason=info.reason,
        fields={violation.field: violation.reason for violation in request.field_violations},
        message=error.details() or "",
    )


def reasons(answer: pb.IngestEventsResponse) -> list[tuple[int, str, str]]:
    return [(r.index, r.field, r.reason) for r in answer.rejections]
