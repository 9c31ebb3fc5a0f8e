"""A trained model, made once per session by the real pipeline, for tests that only ask for offers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.domain.training_window import window_before
from services.optimizer.model_repository import ModelRepository
from services.optimizer.store import models
from services.optimizer.training.pipeline import TrainedModel, train
from tests.contract.optimizer.harness import (
    NOON,
    be_patient,
    insert_world,
    optimizer_settings,
    running_model_server,
    running_optimizer,
)
from tests.contract.optimizer.recommendation_stand import Closed, running_closed
from tests.unit.optimizer.synthetic import END_DAY, SyntheticWorld, build_world


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A world, and the model learned from it."""

    world: SyntheticWorld
    model: TrainedModel

    async def publish(
        self,
        database_url: str,
        repository: Path,
        version: int = 1,
        status: ModelStatus = ModelStatus.LIVE,
        trained_at: datetime = NOON - timedelta(hours=1),
        *,
        training_id: UUID | None = None,
    ) -> None:
        """Put the model live, or into another status, as a training would have."""
        folder = ModelRepository(repository, CONVERSION_MODEL)
        folder.write_version(version, self.model.model)
        if status is ModelStatus.LIVE:
            folder.write_config([version])
        described = replace(self.describe(version), status=status, trained_at=trained_at)
        database = await Database.open(database_url, application_name="test")
        try:
            async with database.transaction() as connection:
                await models.insert_model(
                    connection, described, self.model.report.reference, training_id=training_id
                )
        finally:
            await database.close()

    def describe(self, version: int) -> ModelVersion:
        return ModelVersion(
            version=version,
            status=ModelStatus.LIVE,
            status_reason=self.model.verdict.reason,
            code_version="test",
            trained_at=NOON - timedelta(hours=1),
            training_seconds=1.0,
            data=self.model.data,
            scores=self.model.scores,
            parity_error=self.model.parity_error,
            parameters=self.model.parameters,
            importances=self.model.importances,
            calibration=self.model.report.calibration,
        )


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture(scope="session")
def trained() -> Trained:
    world = build_world()
    model = train(world.table, window_before(END_DAY), live=None, on_progress=lambda _stage, _share: None)
    assert model.verdict.promoted, model.verdict.reason
    return Trained(world=world, model=model)


@pytest.fixture
async def stub(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> AsyncIterator[OptimizerServiceStub]:
    """The optimizer over the trained world and a real model server."""
    world = trained.world
    await insert_world(database.admin, world.rows, catalog_offers=world.last_offers)
    await trained.publish(database.optimizer, tmp_path)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as open_stub,
    ):
        yield open_stub


@pytest.fixture
async def closed(database: DatabaseAddresses, trained: Trained, tmp_path: Path) -> AsyncIterator[Closed]:
    """A trained world whose catalog says $5 everywhere: too little, as profit has it."""
    world = trained.world
    await insert_world(database.admin, world.rows, catalog_offers=[5_000_000] * len(world.last_offers))
    await trained.publish(database.optimizer, tmp_path)
    async with running_closed(database, tmp_path) as stand:
        yield stand
