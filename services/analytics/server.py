"""The composition root: the one place where concrete things meet."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import TypeVar
from zoneinfo import ZoneInfo

import grpc

from gen.campaigns.analytics.v1.alert_service_pb2_grpc import add_AlertServiceServicer_to_server
from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from gen.campaigns.analytics.v1.export_service_pb2_grpc import add_ExportServiceServicer_to_server
from gen.campaigns.analytics.v1.operations_service_pb2_grpc import add_OperationsServiceServicer_to_server
from services.analytics.attributing_process import AttributingProcess
from services.analytics.forecasting_process import ForecastingProcess
from services.analytics.operations.alerts import AlertOperations
from services.analytics.operations.attribution import AttributionOperations
from services.analytics.operations.audience_jobs import build_audience_jobs
from services.analytics.operations.catalog import CatalogOperations
from services.analytics.operations.changes import Changes
from services.analytics.operations.channels import ChannelOperations
from services.analytics.operations.cohorts import CohortOperations
from services.analytics.operations.comparison import ComparisonOperations
from services.analytics.operations.costs import CostOperations
from services.analytics.operations.forecasts import (
    ForecastKeeper,
    ForecastOperations,
    build_forecast_job,
)
from services.analytics.operations.ingestion import IngestionOperations
from services.analytics.operations.jobs import build_jobs
from services.analytics.operations.live import LiveOperations
from services.analytics.operations.merchants import MerchantOperations
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.operations.portfolio import PortfolioOperations
from services.analytics.operations.portfolio_users import PortfolioUsers, build_portfolio_users_job
from services.analytics.operations.ranking import RankingOperations
from services.analytics.operations.recount import RecountOperations
from services.analytics.operations.retention import RetentionOperations, build_retention_job
from services.analytics.operations.retries import Retries
from services.analytics.operations.rfm import RfmOperations
from services.analytics.operations.rolling import RollingOperations
from services.analytics.operations.segments import SegmentOperations
from services.analytics.operations.trends import TrendOperations
from services.analytics.operations.watch_hub import WatchHub
from services.analytics.servicer.alerts import AlertServicer
from services.analytics.servicer.analytics import KEPT_METHODS, AnalyticsServicer
from services.analytics.servicer.catalog import CatalogServicer
from services.analytics.servicer.export import ExportServicer
from services.analytics.servicer.operations import OperationsServicer
from services.analytics.settings import AnalyticsSettings
from services.analytics.store.data_version import MARK_WRITE, fetch_data_version
from services.common import grpc_server, service_database
from services.common.answers import Answers
from services.common.database import Database
from services.common.jobs import Job

ALERT_SERVICE = "campaigns.analytics.v1.AlertService"
ANALYTICS_SERVICE = "campaigns.analytics.v1.AnalyticsService"
CATALOG_SERVICE = "campaigns.analytics.v1.CatalogService"
OPERATIONS_SERVICE = "campaigns.analytics.v1.OperationsService"
EXPORT_SERVICE = "campaigns.analytics.v1.ExportService"
Servicer = TypeVar("Servicer")
APPLICATION_NAME = "analytics"
REBUILD_SECONDS = 24 * 3600.0
"""A rebuild or a reconciliation reads everything: it may take longer than any request."""


def open_database(settings: AnalyticsSettings) -> AbstractAsyncContextManager[Database]:
    """Open the service's database, closed with the block."""
    return service_database.open_database(settings, application_name=APPLICATION_NAME, mark_write=MARK_WRITE)


@dataclass(frozen=True, kw_only=True)
class OpenServices:
    """The proto services, and what ends the streams that would not end by themselves."""

    services: Sequence[grpc_server.Service]
    end_streams: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the use cases share: settings, reporting zone, time, chance, and who is told of changes."""

    settings: AnalyticsSettings
    zone: ZoneInfo
    clock: Callable[[], datetime]
    random: Random
    hub: WatchHub
    changes: Changes


@asynccontextmanager
async def open_services(
    settings: AnalyticsSettings, database: Database, *, clock: Callable[[], datetime], random: Random
) -> AsyncIterator[OpenServices]:
    """Yield the proto services on a database, with what runs beside their calls until the end of the block.

    The first start ever fixes the reporting zone.
    """
    zone = await RecountOperations(database).settle_time_zone(settings.reporting_time_zone)
    hub = WatchHub(
        clock=clock, poll_seconds=settings.watch_poll_seconds, maximum_watchers=settings.max_watchers
    )
    changes = Changes(database, hub.hear)
    around = Surroundings(settings=settings, zone=zone, clock=clock, random=random, hub=hub, changes=changes)
    async with AsyncExitStack() as stack:
        jobs_database = await stack.enter_async_context(
            service_database.open_jobs_database(
                settings,
                database,
                application_name=APPLICATION_NAME,
                statement_timeout_seconds=REBUILD_SECONDS,
                mark_write=MARK_WRITE,
            )
        )
        await stack.enter_async_context(changes.running())
        await stack.enter_async_context(hub.running())
        jobs = await stack.enter_async_context(
            service_database.running_jobs(settings, database, _build_jobs(around, jobs_database))
        )
        operations = OperationsServicer(jobs=jobs, recount=RecountOperations(database))
        yield OpenServices(services=_build_services(around, database, operations), end_streams=hub.end)


def _build_services(
    around: Surroundings, database: Database, operations: OperationsServicer
) -> Sequence[grpc_server.Service]:
    """Return every proto service; exports ask the others."""
    analytics = _build_analytics(around, database)
    alerts = AlertServicer(_build_alerts(around, database))
    catalog = CatalogServicer(CatalogOperations(database, Retries(around.random), around.changes))
    exports = ExportServicer(
        {
            "AlertService": alerts,
            "AnalyticsService": analytics,
            "CatalogService": catalog,
            "OperationsService": operations,
        }
    )
    return [
        replace(
            _service(ANALYTICS_SERVICE, add_AnalyticsServiceServicer_to_server, analytics),
            answers=dict.fromkeys(KEPT_METHODS, _build_answers(around.settings, database)),
        ),
        _service(ALERT_SERVICE, add_AlertServiceServicer_to_server, alerts),
        _service(CATALOG_SERVICE, add_CatalogServiceServicer_to_server, catalog),
        _service(OPERATIONS_SERVICE, add_OperationsServiceServicer_to_server, operations),
        _service(EXPORT_SERVICE, add_ExportServiceServicer_to_server, exports),
    ]


def _build_answers(settings: AnalyticsSettings, database: Database) -> Answers:
    async def read_version() -> int:
        async with database.acquire() as connection:
            return await fetch_data_version(connection)

    return Answers(
        read_version, seconds=settings.kept_answer_seconds, maximum_bytes=settings.kept_answer_bytes
    )


def _build_analytics(around: Surroundings, database: Database) -> AnalyticsServicer:
    settings, zone, clock = around.settings, around.zone, around.clock
    metrics = MetricsOperations(database, zone=zone)
    users = PortfolioUsers(database)
    return AnalyticsServicer(
        attribution=AttributionOperations(database, zone=zone, clock=clock),
        channels=ChannelOperations(database, zone=zone),
        cohorts=CohortOperations(database, zone=zone, clock=clock),
        comparison=ComparisonOperations(database),
        costs=CostOperations(
            database,
            Retries(around.random),
            around.changes,
            zone=zone,
            clock=clock,
            future=timedelta(seconds=settings.max_future_seconds),
        ),
        forecasts=ForecastOperations(database, zone=zone, clock=clock),
        ingestion=IngestionOperations(
            database, settings, clock=clock, random=around.random, changes=around.changes
        ),
        live=LiveOperations(database, metrics, around.hub, zone=zone, clock=clock, users=users),
        merchants=MerchantOperations(database),
        metrics=metrics,
        portfolio=PortfolioOperations(database, zone=zone, clock=clock, users=users),
        ranking=RankingOperations(database, zone=zone, clock=clock),
        rfm=RfmOperations(database, zone=zone),
        segments=SegmentOperations(database, clock=clock),
        trends=TrendOperations(database, zone=zone, clock=clock),
    )


def _build_alerts(around: Surroundings, database: Database) -> AlertOperations:
    return AlertOperations(
        database,
        changes=around.changes,
        hub=around.hub,
        zone=around.zone,
        clock=around.clock,
        maximum_rules=around.settings.max_alert_rules,
    )


def _build_jobs(around: Surroundings, database: Database) -> Sequence[Job]:
    """Return every job, on the jobs' own connections."""
    settings, zone, clock = around.settings, around.zone, around.clock
    attributing = AttributingProcess(
        database_url=settings.database_url,
        reporting_time_zone=settings.reporting_time_zone,
        lookback_days=settings.attribution_lookback_days,
    )
    forecasting = ForecastingProcess(
        database_url=settings.database_url,
        reporting_time_zone=settings.reporting_time_zone,
        timeout_seconds=settings.forecast_timeout_seconds,
    )
    return [
        *build_jobs(
            alerts=_build_alerts(around, database),
            alert_seconds=settings.alert_interval_seconds,
            recount=RecountOperations(database),
            rolling=RollingOperations(database, zone=zone, clock=clock),
            attribute=attributing.run,
            attribution_seconds=settings.attribution_interval_seconds,
            zone=zone,
        ),
        *build_audience_jobs(
            cohorts=CohortOperations(database, zone=zone, clock=clock),
            rfm=RfmOperations(database, zone=zone),
            segments=SegmentOperations(database, clock=clock),
            audience_seconds=settings.audience_interval_seconds,
            rfm_seconds=settings.rfm_interval_seconds,
        ),
        build_portfolio_users_job(
            PortfolioUsers(database), seconds=settings.portfolio_users_interval_seconds
        ),
        build_forecast_job(
            ForecastKeeper(database, forecasting, zone=zone, clock=clock),
            seconds=settings.forecast_interval_seconds,
        ),
        build_retention_job(
            RetentionOperations(database, zone=zone, retention_days=settings.retention_days, clock=clock)
        ),
    ]


def _service(
    name: str, add: Callable[[Servicer, grpc.aio.Server], None], servicer: Servicer
) -> grpc_server.Service:
    return grpc_server.Service(name=name, register=partial(add, servicer))


async def serve(
    settings: AnalyticsSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Serve until told to stop; not ready while the database does not answer or counts in another zone."""
    async with (
        open_database(settings) as database,
        open_services(
            settings,
            database,
            clock=lambda: datetime.now(UTC),
            random=Random(),  # noqa: S311 (spreads load; nothing secret)
        ) as opened,
    ):
        recount = RecountOperations(database)
        await grpc_server.serve(
            settings=settings,
            services=opened.services,
            ready=partial(recount.check_time_zone, settings.reporting_time_zone),
            stopping=stopping,
            on_started=on_started,
            on_drained=opened.end_streams,
        )
