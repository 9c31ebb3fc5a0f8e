"""What a training holds in the database while it runs, and leaves when it is stopped as it publishes."""

import asyncio
from pathlib import Path
from uuid import UUID

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import training_pb2 as pb
from services.common.database import Connection
from services.optimizer.domain.models.trainings import Ending, TrainingOrder
from services.optimizer.domain.models.version import ModelVersion
from services.optimizer.operations.training import TrainingOperations
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    PATIENCE_SECONDS,
    fetch_rows,
    insert_world,
    lock_every_table,
    optimizer_settings,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.trainers import CandidateTrainer, EndlessTrainer

STATE = "select state from trainings"
WAITS = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


async def test_a_training_under_way_keeps_no_table_from_being_altered(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    trainer = EndlessTrainer()
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(settings, trainer=trainer) as stub:
            training = stub.TrainModel(pb.TrainModelRequest())
            await trainer.begun.wait()
            tables = await lock_every_table(database.admin)
            still_runs = not training.done()
            training.cancel()
    assert {"analytics.campaign_delivery_daily", "optimizer.ml_models"} <= set(tables)
    assert still_runs


@pytest.mark.parametrize("stopped", ["before", "after"])
async def test_a_training_stopped_as_its_publication_is_committed_has_its_ending_kept_at_once(
    database: DatabaseAddresses,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: str,
) -> None:
    """The caller leaves when the record says `promoted`: just before that is committed, or just after.

    What is kept agrees: cancelled with a rejected version, or promoted with a live one. It waits for no lock.
    """
    calls: list[grpc.aio.UnaryUnaryCall[pb.TrainModelRequest, pb.TrainModelResponse]] = []
    held = asyncio.Event()
    end, publish = TrainingOperations._end, TrainingOperations._publish

    async def leave() -> None:
        calls[0].cancel()
        held.set()
        await asyncio.Event().wait()

    async def end_and_leave(
        self: TrainingOperations, connection: Connection, training_id: UUID, ending: Ending
    ) -> None:
        await end(self, connection, training_id, ending)
        if stopped == "before":
            await leave()

    async def publish_and_leave(
        self: TrainingOperations,
        training_id: UUID,
        order: TrainingOrder,
        made: ModelVersion,
        *,
        compared_with: int | None,
    ) -> ModelVersion:
        model = await publish(self, training_id, order, made, compared_with=compared_with)
        await leave()
        return model

    monkeypatch.setattr(TrainingOperations, "_end", end_and_leave)
    if stopped == "after":
        monkeypatch.setattr(TrainingOperations, "_publish", publish_and_leave)
    await insert_world(database.admin, trained.world.rows)
    waited = False
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(
            settings, trainer=CandidateTrainer(trained, database.optimizer, tmp_path)
        ) as stub:
            calls.append(stub.TrainModel(pb.TrainModelRequest()))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await held.wait()
                while (await fetch_rows(database.reporting, STATE))[0]["state"] == "running":
                    waited = waited or bool(await fetch_rows(database.admin, WAITS))
                    await asyncio.sleep(0.02)
    (kept,) = await fetch_rows(database.reporting, STATE)
    (model,) = await fetch_rows(database.reporting, "select status from ml_models")
    expected = {"before": ("cancelled", "rejected"), "after": ("promoted", "live")}
    assert (kept["state"], model["status"]) == expected[stopped]
    assert not waited
