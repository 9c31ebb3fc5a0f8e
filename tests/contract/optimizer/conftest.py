"""A trained model, made once per session by the real pipeline, for tests that only ask for offers."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from services.common.database import Database
from services.optimizer.domain.model_version import CONVERSION_MODEL, ModelStatus, ModelVersion
from services.optimizer.domain.training_window import window_before
from services.optimizer.store import models
from services.optimizer.training.pipeline import TrainedModel, train
from services.optimizer.training.repository import ModelRepository
from tests.contract.optimizer.harness import NOON
from tests.unit.optimizer.synthetic import END_DAY, SyntheticWorld, build_world


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A world, and the model learned from it."""

    world: SyntheticWorld
    model: TrainedModel

    async def publish(self, database_url: str, repository: Path, version: int = 1) -> None:
        """Put the model live, as a training would have."""
        folder = ModelRepository(repository, CONVERSION_MODEL)
        folder.write_version(version, self.model.model)
        folder.write_config([version])
        database = await Database.open(database_url, application_name="test")
        try:
            async with database.transaction() as connection:
                await models.insert_model(connection, self.describe(version))
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
        )


@pytest.fixture(scope="session")
def trained() -> Trained:
    world = build_world()
    model = train(world.table, window_before(END_DAY), live=None, on_progress=lambda _stage, _share: None)
    assert model.verdict.promoted, model.verdict.reason
    return Trained(world=world, model=model)
