from collections.abc import AsyncIterator

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from gen.campaigns.abtest.v1.export_service_pb2_grpc import ABTestExportServiceStub
from tests.abtest_factories import (
    add_campaigns,
    running_channel,
    running_server,
)
from tests.contract.abtest.lifecycle_stand import Clock
from tests.contract.abtest.outcomes_stand import Service


@pytest.fixture
async def abtest(database: DatabaseAddresses) -> AsyncIterator[ABTestServiceStub]:
    """A stub of a server over a fresh database whose catalog has two campaigns."""
    await add_campaigns(database.admin)
    async with running_server(database.abtest) as stub:
        yield stub


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stub(database: DatabaseAddresses, clock: Clock) -> AsyncIterator[ABTestServiceStub]:
    """The same, and its clock stands until a test moves it."""
    await add_campaigns(database.admin)
    async with running_server(database.abtest, now=clock) as stub:
        yield stub


@pytest.fixture
async def service(database: DatabaseAddresses) -> AsyncIterator[Service]:
    await add_campaigns(database.admin)
    kept: list[Service] = []
    async with running_channel(database.abtest, now=lambda: kept[0].now) as channel:
        made = Service(ABTestServiceStub(channel), ABTestExportServiceStub(channel), database.admin)
        kept.append(made)
        yield made
