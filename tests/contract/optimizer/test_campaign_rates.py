"""Rates of active campaigns: computed once for all who ask, and the same whoever asked before."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from datetime import date
from pathlib import Path

import pytest
from cachetools import TTLCache

from deploy.local.bootstrap import DatabaseAddresses
from gen.inference import grpc_service_pb2 as inference_pb
from gen.inference import grpc_service_pb2_grpc as inference_grpc
from services.common.database import Database
from services.common.errors import DeadlineExceededError, UnavailableError
from services.common.grpc_client import open_channel
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.models.version import ModelVersion
from services.optimizer.domain.recommendations import campaign_choice
from services.optimizer.domain.recommendations.campaign_choice import ActiveCampaign
from services.optimizer.model_client import ModelClient
from services.optimizer.operations import campaign_rates
from services.optimizer.operations.campaign_rates import CampaignRates, KeptRate, Key
from services.optimizer.operations.lookup import LiveModel
from services.optimizer.store import campaigns
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import NOON, insert_world, running_model_server

TODAY = NOON.date()


class Stand:
    """A database of campaigns that run, a model server, and what asks both."""

    def __init__(self, database: Database, models: ModelClient, port: int) -> None:
        self.database = database
        self.models = models
        self.port = port

    def rates(self, seconds: float = 3600.0) -> CampaignRates:
        self.kept: MutableMapping[Key, KeptRate] = TTLCache(1000, seconds)
        return CampaignRates(self.database, self.models, kept=self.kept)

    async def fetch_world(self) -> tuple[ModelVersion, list[ActiveCampaign]]:
        async with self.database.transaction(readonly=True) as connection:
            model = await LiveModel().require(connection)
            counts = await campaigns.count_active_campaigns(connection, NOON)
            merchants = [merchant for merchant in counts if merchant is not None]
            active = await campaigns.list_active_campaigns(
                connection, NOON, date(2000, 1, 1), TODAY, merchant_ids=merchants, most=1000
            )
        return model, sorted(active, key=lambda campaign: campaign.campaign_id)

    async def count_inferences(self) -> int:
        async with open_channel(f"127.0.0.1:{self.port}") as channel:
            stub = inference_grpc.GRPCInferenceServiceStub(channel)
            statistics = await stub.ModelStatistics(inference_pb.ModelStatisticsRequest(name="conversion"))
        return int(statistics.model_stats[0].inference_stats.success.count)


@pytest.fixture
async def stand(database: DatabaseAddresses, trained: Trained, tmp_path: Path) -> AsyncIterator[Stand]:
    await insert_world(database.admin, trained.world.rows, catalog_offers=trained.world.last_offers)
    await trained.publish(database.optimizer, tmp_path)
    async with (
        running_model_server(tmp_path) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        own = await Database.open(database.optimizer, application_name="test")
        try:
            yield Stand(own, ModelClient(channel, inference_seconds=60, load_seconds=60), port)
        finally:
            await own.close()


async def test_who_asks_at_the_same_time_and_later_costs_no_further_inference(stand: Stand) -> None:
    model, active = await stand.fetch_world()
    rates = stand.rates()
    first, *others = await asyncio.gather(*(rates.fetch(active, model, TODAY) for _ in range(5)))
    again = await rates.fetch(active[::-1], model, TODAY)
    assert len(first) == len(active) > 10
    assert others == [first] * 4
    assert again == first[::-1]
    assert await stand.count_inferences() == 1


async def test_another_campaign_day_or_age_is_computed_anew(stand: Stand) -> None:
    model, active = await stand.fetch_world()
    rates, forgetful = stand.rates(), stand.rates(seconds=0)
    await rates.fetch(active[1:], model, TODAY)
    assert await rates.fetch(active, model, TODAY) == await forgetful.fetch(active, model, TODAY)
    assert await stand.count_inferences() == 3
    await rates.fetch(active, model, date(2026, 11, 1))
    await forgetful.fetch(active, model, TODAY)
    assert await stand.count_inferences() == 5


async def test_as_many_campaigns_are_told_as_one_inference_holds_whoever_asked_before(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, active = await stand.fetch_world()
    rates = stand.rates()
    every = await rates.fetch(active, model, TODAY)
    half = sum(kept.rows for kept in stand.kept.values()) // 2
    for module in (campaign_choice, campaign_rates):
        monkeypatch.setattr(module, "MOST_ROWS", half)
    alone = await stand.rates().fetch(active, model, TODAY)
    assert 0 < len(alone) < len(active)
    assert alone == every[: len(alone)]
    shared = stand.rates()
    orders: Sequence[Sequence[ActiveCampaign]] = (active[::-1], active[3:], active)
    for order in orders:
        told = await shared.fetch(order, model, TODAY)
    assert told == alone


async def test_what_is_kept_is_told_while_the_model_server_is_away(stand: Stand) -> None:
    model, active = await stand.fetch_world()
    rates = stand.rates()
    known = await rates.fetch(active[:4], model, TODAY)
    async with open_channel("127.0.0.1:1") as nowhere:
        rates._models = ModelClient(nowhere, inference_seconds=60, load_seconds=60)
        assert await rates.fetch(active[:4], model, TODAY) == known
        with pytest.raises(UnavailableError):
            await rates.fetch(active, model, TODAY)
    rates._models = stand.models
    assert len(await rates.fetch(active, model, TODAY)) == len(active)


async def test_who_waits_while_the_model_server_hangs_is_refused_with_the_first(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that hangs is over when the test says so; nobody begins another one after it."""
    model, active = await stand.fetch_world()
    rates = stand.rates()
    calls, hanging = 0, asyncio.Event()

    async def hang(*_arguments: object) -> FloatArray:
        nonlocal calls
        calls += 1
        await hanging.wait()
        raise DeadlineExceededError("the model server did not answer", reason="PEER_DEADLINE_EXCEEDED")

    with monkeypatch.context() as patch:
        patch.setattr(stand.models, "infer", hang)
        asking = [asyncio.create_task(rates.fetch(active[place:], model, TODAY)) for place in range(4)]
        while calls == 0:
            await asyncio.sleep(0.01)
        hanging.set()
        refused = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in refused] == [DeadlineExceededError] * 4
    assert calls == 1
    assert len(await rates.fetch(active, model, TODAY)) == len(active)
