"""The composition root: the one place where concrete things meet."""

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random

from gen.campaigns.analytics.v1.analytics_service_pb2_grpc import add_AnalyticsServiceServicer_to_server
from gen.campaigns.analytics.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from services.analytics.operations.catalog import CatalogOperations
from services.analytics.operations.ingestion import IngestionOperations
from services.analytics.operations.metrics import MetricsOperations
from services.analytics.operations.recount import RecountOperations
from services.analytics.operations.retries import Retries
from services.analytics.operations.trends import TrendOperations
from services.analytics.servicer.analytics import AnalyticsServicer
from services.analytics.servicer.catalog import CatalogServicer
from services.analytics.settings import AnalyticsSettings
from services.common import grpc_server
from services.common.cli import Command
from services.common.database import Database

ANALYTICS_SERVICE = "campaigns.analytics.v1.AnalyticsService"
CATALOG_SERVICE = "campaigns.analytics.v1.CatalogService"
SHOWN_DIFFERENCES = 20
REBUILD_SECONDS = 24 * 3600.0
"""A rebuild or a reconciliation reads everything: it may take longer than any request."""


@asynccontextmanager
async def open_database(
    settings: AnalyticsSettings, *, statement_timeout_seconds: float | None = None
) -> AsyncIterator[Database]:
    """Yield the service's database, closed afterwards."""
    database = await Database.open(
        settings.database_url,
        application_name="analytics",
        max_size=settings.database_connections,
        statement_timeout_seconds=statement_timeout_seconds or settings.statement_timeout_seconds,
    )
    try:
        yield database
    finally:
        await database.close()


async def build_services(
    settings: AnalyticsSettings, database: Database, *, clock: Callable[[], datetime], random: Random
) -> Sequence[grpc_server.Service]:
    """Return the proto services on a database; fixes the reporting zone at the first start."""
    zone = await RecountOperations(database).settle_time_zone(settings.reporting_time_zone)
    analytics = AnalyticsServicer(
        ingestion=IngestionOperations(database, settings, clock=clock, random=random),
        metrics=MetricsOperations(database, zone=zone, clock=clock),
        trends=TrendOperations(database, zone=zone),
    )
    catalog = CatalogServicer(CatalogOperations(database, Retries(random)))
    return [
        grpc_server.Service(
            name=ANALYTICS_SERVICE, register=partial(add_AnalyticsServiceServicer_to_server, analytics)
        ),
        grpc_server.Service(
            name=CATALOG_SERVICE, register=partial(add_CatalogServiceServicer_to_server, catalog)
        ),
    ]


async def serve(
    settings: AnalyticsSettings,
    *,
    stopping: asyncio.Event | None = None,
    on_started: Callable[[int], None] | None = None,
) -> None:
    """Serve until told to stop; not ready while the database does not answer or counts in another zone."""
    async with open_database(settings) as database:
        services = await build_services(
            settings,
            database,
            clock=lambda: datetime.now(UTC),
            random=Random(),  # noqa: S311 (spreads load; nothing secret)
        )
        recount = RecountOperations(database)
        await grpc_server.serve(
            settings=settings,
            services=services,
            ready=partial(recount.check_time_zone, settings.reporting_time_zone),
            stopping=stopping,
            on_started=on_started,
        )


async def reconcile(settings: AnalyticsSettings, _arguments: Namespace) -> int:
    """Compare every rollup with a recount; print the differences; return 1 if there are any."""
    async with open_database(settings, statement_timeout_seconds=REBUILD_SECONDS) as database:
        differences = await RecountOperations(database).reconcile()
    for difference in differences[:SHOWN_DIFFERENCES]:
        print(f"{difference.rollup}: {difference.side}: {difference.content}")  # noqa: T201
    if differences:
        print(f"{len(differences)} rows differ from a recount of the events")  # noqa: T201
        return 1
    print("every rollup equals a recount of the events")  # noqa: T201
    return 0


async def rebuild(settings: AnalyticsSettings, arguments: Namespace) -> int:
    """Count every rollup again, in another reporting zone if one is named."""
    async with open_database(settings, statement_timeout_seconds=REBUILD_SECONDS) as database:
        zone = await RecountOperations(database).rebuild(arguments.reporting_time_zone)
    print(f"every rollup is counted again, in the days of {zone}")  # noqa: T201
    return 0


def _add_rebuild_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--reporting-time-zone", help="IANA zone to count in from now on")


COMMANDS = {
    "reconcile": Command(help="compare every rollup with a recount; 1 if any differs", run=reconcile),
    "rebuild": Command(
        help="count every rollup again from the raw events", run=rebuild, arguments=_add_rebuild_arguments
    ),
}
