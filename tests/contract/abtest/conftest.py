from collections.abc import AsyncIterator

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from tests.abtest_factories import add_campaigns, running_server


@pytest.fixture
async def abtest(database: DatabaseAddresses) -> AsyncIterator[ABTestServiceStub]:
    """A stub of a server over a fresh database whose catalog has two campaigns."""
    await add_campaigns(database.admin)
    async with running_server(database.abtest) as stub:
        yield stub
