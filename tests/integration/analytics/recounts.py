"""Whether rollups equal a recount."""

from typing import Any

from deploy.local.bootstrap import DatabaseAddresses
from services.analytics.operations.recount import RecountOperations
from services.analytics.server import open_database
from tests.analytics_factories import settings_for


async def differences(database: DatabaseAddresses) -> list[Any]:
    async with open_database(settings_for(database.analytics)) as connection:
        return list(await RecountOperations(connection).reconcile())
