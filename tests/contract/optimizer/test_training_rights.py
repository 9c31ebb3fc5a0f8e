"""Who may train and publish: what one does that lost its right, and what it leaves to its successor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import models_pb2, training_pb2
from services.common.database import Connection, Database
from services.common.errors import AbortedError, DeadlineExceededError, UnavailableError
from services.common.grpc_client import open_channel
from services.optimizer.domain.models.changes import ChangeKind, Going
from services.optimizer.domain.models.trainings import Note, TrainingCause, TrainingOrder
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.model_client import ModelClient
from services.optimizer.model_repository import ModelRepository
from services.optimizer.operations import training_record
from services.optimizer.operations.publication import Publication
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.store import audiences, models
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.event_log import VIEWED, Event, insert_events
from tests.contract.optimizer.harness import (
    NOON,
    PATIENCE_SECONDS,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.trainers import CandidateTrainer, EndlessTrainer, insert_training
from tests.unit.optimizer.synthetic import END_DAY

PROMOTION = Going(kind=ChangeKind.PROMOTION, cause=TrainingCause.DAILY, note=Note(), reason="better")
ROW = np.array([[10.0, 3.0, 11.0, 2.0, 1.0, 500.0, 40.0]], dtype=np.float32)
END_THE_LOCK = (
    "select pg_terminate_backend(pid, 60000) from pg_locks where locktype = 'advisory' and granted"
    " and database = (select oid from pg_database where datname = current_database())"
)


async def test_a_training_without_its_lock_stops_and_rejects_nobody_elses_version(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    first = EndlessTrainer()
    successor = CandidateTrainer(trained, database.optimizer, tmp_path, after=first.stopped.wait)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with (
            running_optimizer(settings, trainer=first) as one,
            running_optimizer(settings, trainer=successor) as other,
        ):
            losing = one.TrainModel(training_pb2.TrainModelRequest())
            await first.begun.wait()
            await fetch_rows(database.admin, END_THE_LOCK)
            won = await other.TrainModel(training_pb2.TrainModelRequest())
            with pytest.raises(grpc.aio.AioRpcError) as lost:
                await losing
    assert refusal_of(lost.value).code in {"ABORTED", "UNAVAILABLE"}
    assert (won.status, won.version) == ("success", 1)
    kept = await fetch_rows(database.reporting, "select state from trainings order by state")
    assert [row["state"] for row in kept] == ["failed", "promoted"]
    (model,) = await fetch_rows(database.reporting, "select status, training_id from ml_models")
    assert model["status"] == "live"
    assert str(model["training_id"]) == won.training_id


async def test_a_training_that_loses_its_lock_once_all_is_kept_has_succeeded(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller hears of the version that is live, and not of a lost connection."""
    publish = TrainingOperations._publish

    async def publish_and_lose(
        self: TrainingOperations,
        training_id: UUID,
        order: TrainingOrder,
        made: ModelVersion,
        *,
        compared_with: int | None,
    ) -> ModelVersion:
        model = await publish(self, training_id, order, made, compared_with=compared_with)
        await fetch_rows(database.admin, END_THE_LOCK)
        return model

    monkeypatch.setattr(TrainingOperations, "_publish", publish_and_lose)
    monkeypatch.setattr(training_record, "HEARTBEAT_SECONDS", PATIENCE_SECONDS)
    trainer = CandidateTrainer(trained, database.optimizer, tmp_path)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(settings, trainer=trainer) as stub:
            answer = await stub.TrainModel(training_pb2.TrainModelRequest())
    assert (answer.status, answer.version) == ("success", 1)
    (model,) = await fetch_rows(database.reporting, "select status from ml_models")
    assert model["status"] == "live"


async def test_a_training_whose_record_another_one_ended_publishes_nothing(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async def be_taken_for_lost() -> None:
        await fetch_rows(
            database.optimizer,
            "update trainings set state = 'failed', ended_at = now(), message = 'whatever ran it is gone'",
        )

    trainer = CandidateTrainer(trained, database.optimizer, tmp_path, after=be_taken_for_lost)
    async with running_model_server(tmp_path) as port:
        settings = optimizer_settings(database.optimizer, tmp_path, port)
        async with running_optimizer(settings, trainer=trainer) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as over:
                await stub.TrainModel(training_pb2.TrainModelRequest())
    assert (refusal_of(over.value).code, refusal_of(over.value).reason) == ("ABORTED", "TRAINING_STOPPED")
    (kept,) = await fetch_rows(database.reporting, "select state, message from trainings")
    assert tuple(kept) == ("failed", "whatever ran it is gone")
    (model,) = await fetch_rows(database.reporting, "select status from ml_models")
    assert model["status"] == "rejected"


async def test_a_candidate_is_rejected_by_its_own_training_or_when_that_does_not_run(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    running, over = uuid4(), uuid4()
    await insert_training(database.optimizer, running, NOON)
    await trained.publish(database.optimizer, tmp_path, 1, ModelStatus.CANDIDATE, training_id=running)
    await trained.publish(database.optimizer, tmp_path, 2, ModelStatus.CANDIDATE, training_id=over)
    async with connected(database) as connection:
        await models.reject_candidate_of(connection, uuid4(), "nobody's", NOON)
        await models.reject_interrupted_models(connection, "interrupted", NOON)
        interrupted = [await status_of(connection, version) for version in (1, 2)]
        await models.reject_candidate_of(connection, running, "its own", NOON)
        own = await status_of(connection, 1)
    assert interrupted == [ModelStatus.CANDIDATE, ModelStatus.REJECTED]
    assert own is ModelStatus.REJECTED


async def test_each_version_is_answered_by_the_audiences_of_its_own_days(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """A version trained on old days takes nothing from the live one, and going back brings its own along."""
    noon = datetime.combine(END_DAY, time(12), tzinfo=UTC)
    events = [
        Event(
            user_id=f"u{number}",
            event_id="e",
            event_type=VIEWED,
            at=noon - timedelta(days=days),
            campaign_id="campaign-1",
            offer=10.0,
            propensity=None,
            segment_set=None,
        )
        for number, days in enumerate([10, 20, 30, 310])
    ]
    await insert_world(database.admin, trained.world.rows)
    await insert_events(database.admin, events)
    for version, status in ((1, ModelStatus.RETIRED), (2, ModelStatus.LIVE), (3, ModelStatus.CANDIDATE)):
        await trained.publish(database.optimizer, tmp_path, version, status)
    found: list[int] = []
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
        connected(database) as connection,
    ):
        async with connection.transaction():
            await audiences.count_audiences(connection, 1, start=noon - timedelta(days=15), end=noon)
            await audiences.count_audiences(connection, 2, start=noon - timedelta(days=90), end=noon)
            old = noon - timedelta(days=310)
            await audiences.count_audiences(connection, 3, start=old, end=old + timedelta(days=90))
        found.append(await viewers_of(connection, "campaign-1"))
        await stub.RollbackModel(models_pb2.RollbackModelRequest())
        found.append(await viewers_of(connection, "campaign-1"))
        # An answer by the version that was live when it was begun has that version's audience.
        begun = await audiences.list_campaign_audiences(connection, 2, ["campaign-1"])
        await audiences.delete_audiences(connection, [1])
        found.append(await viewers_of(connection, "campaign-1"))
    assert found == [3, 1, 0]
    assert sum(begun["campaign-1"].views.values()) == 3


class Slow(ModelClient):
    """Has the server load a version, and does not hear of it in time."""

    def __init__(self, channel: grpc.aio.Channel, slow: int) -> None:
        super().__init__(channel, inference_seconds=PATIENCE_SECONDS, load_seconds=PATIENCE_SECONDS)
        self._slow = slow

    async def load(self, model: str, version: int) -> None:
        await super().load(model, version)
        if version == self._slow:
            raise DeadlineExceededError("not in time", reason="PEER_DEADLINE_EXCEEDED")


async def test_a_server_that_took_a_version_too_late_is_told_to_serve_what_it_served(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await trained.publish(database.optimizer, tmp_path, 2, ModelStatus.CANDIDATE)
    await trained.publish(database.optimizer, tmp_path, 1)
    async with published(database, tmp_path, slow=2) as (client, publication, connection):
        with pytest.raises(DeadlineExceededError):
            await publication.put_live(
                connection, 2, before=ModelStatus.CANDIDATE, going=PROMOTION, retired_reason=""
            )
        with pytest.raises(UnavailableError) as gone:
            await client.infer(CONVERSION_MODEL, 2, ROW)
        assert len(await client.infer(CONVERSION_MODEL, 1, ROW)) == 1
    assert gone.value.reason == "MODEL_NOT_SERVED"


async def test_a_candidate_that_was_rejected_meanwhile_is_not_put_live(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await trained.publish(database.optimizer, tmp_path, 2, ModelStatus.REJECTED)
    await trained.publish(database.optimizer, tmp_path, 1)
    config = (tmp_path / "conversion/config.pbtxt").read_bytes()
    async with published(database, tmp_path) as (_, publication, connection):
        with pytest.raises(AbortedError, match="version 2 is not candidate any more"):
            async with connection.transaction():
                await publication.put_live(
                    connection, 2, before=ModelStatus.CANDIDATE, going=PROMOTION, retired_reason=""
                )
        assert await status_of(connection, 1) is ModelStatus.LIVE
    assert (tmp_path / "conversion/config.pbtxt").read_bytes() == config


@asynccontextmanager
async def connected(database: DatabaseAddresses) -> AsyncIterator[Connection]:
    pool = await Database.open(database.optimizer, application_name="test")
    try:
        async with pool.acquire() as connection:
            yield connection
    finally:
        await pool.close()


@asynccontextmanager
async def published(
    database: DatabaseAddresses, repository: Path, *, slow: int = 0
) -> AsyncIterator[tuple[ModelClient, Publication, Connection]]:
    """A publication over a real model server that serves what is in the repository."""
    async with (
        running_model_server(repository) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
        connected(database) as connection,
    ):
        client = Slow(channel, slow)
        folder = ModelRepository(repository, CONVERSION_MODEL)
        yield client, Publication(client, folder, now=lambda: NOON), connection


async def status_of(connection: Connection, version: int) -> ModelStatus | None:
    details = await models.fetch_model_details(connection, version)
    return None if details is None else details.summary.status


async def viewers_of(connection: Connection, campaign_id: str) -> int:
    live = await models.fetch_live_version(connection)
    assert live is not None
    known = await audiences.list_campaign_audiences(connection, live, [campaign_id])
    return sum(known[campaign_id].views.values()) if campaign_id in known else 0
