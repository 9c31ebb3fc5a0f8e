"""A server of the tests' campaigns, and a connection to what it keeps."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import add_campaigns, running_server


@pytest.fixture
async def admin(database: DatabaseAddresses) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    await add_campaigns(database.admin)
    connection = await asyncpg.connect(database.admin)
    yield connection
    await connection.close()


@pytest.fixture
async def abtest(
    admin: "asyncpg.Connection[asyncpg.Record]", database: DatabaseAddresses
) -> AsyncIterator[ABTestServiceStub]:
    async with running_server(database.abtest) as stub:
        yield stub
