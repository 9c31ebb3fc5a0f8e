from collections.abc import AsyncIterator

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from tests.analytics_factories import Stubs, add_catalog, running_server


@pytest.fixture
async def stubs(database: DatabaseAddresses) -> AsyncIterator[Stubs]:
    """Stubs of a server over a fresh database with campaigns c1 and c2; it is noon of 2026-03-31, UTC."""
    async with running_server(database.analytics, max_batch_events=50) as running:
        await add_catalog(running)
        yield running


@pytest.fixture
async def unkept_stubs(database: DatabaseAddresses) -> AsyncIterator[Stubs]:
    """The same, for tests that change behind the server's back what it answers from: it keeps no answer."""
    async with running_server(database.analytics, max_batch_events=50, kept_answer_seconds=0) as running:
        await add_catalog(running)
        yield running
