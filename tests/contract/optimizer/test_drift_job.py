"""The job that looks whether the world moved away from the live model, and trains where it did."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import models_pb2
from services.common.errors import FailedPreconditionError
from services.optimizer.domain.features import DailyRow
from services.optimizer.training_process import TrainingProcess
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    insert_world,
)
from tests.contract.optimizer.training_jobs_stand import stand
from tests.unit.optimizer.synthetic import END_DAY, build_world


def later_rows(days: int, *, lower_by: float = 0.0, raise_offer_micros: int = 0) -> list[DailyRow]:
    """Return the rows of the days after `END_DAY` of the same world, changed."""
    world = build_world(days=60 + days, end_day=END_DAY + timedelta(days=days))
    rng = np.random.default_rng(3)
    rows: list[DailyRow] = []
    for campaign, day, offer, shown, views, conversions, kind, merchant in world.rows:
        if day >= END_DAY:
            kept = int(rng.binomial(conversions, 1.0 - lower_by))
            changed = None if offer is None else offer + raise_offer_micros
            rows.append((campaign, day, changed, shown, views, kept, kind, merchant))
    return rows


async def test_a_world_that_stays_is_stable(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    async with stand(database, tmp_path) as jobs:
        too_early = await jobs.run("check_drift")
        early = await jobs.stub.GetModelDrift(models_pb2.GetModelDriftRequest())
        await insert_world(database.admin, later_rows(10))
        jobs.times[0] += timedelta(days=10)
        said = await jobs.run("check_drift")
        drift = await jobs.stub.GetModelDrift(models_pb2.GetModelDriftRequest())
        kept = await jobs.trainings()
    assert "version 1 is insufficient: only 0 of 3 days and 0 of 100 rows" in too_early
    assert (early.verdict, early.days, len(early.features)) == ("insufficient", 0, 0)
    assert (early.start_date, early.end_date) == (END_DAY.isoformat(), "")
    assert not early.HasField("live_squared_error")
    assert not early.HasField("squared_error_growth")

    assert said.startswith("version 1 is stable")
    assert (drift.version, drift.verdict, drift.triggers_training) == (1, "stable", False)
    assert (drift.start_date, drift.end_date, drift.days) == ("2026-11-20", "2026-11-29", 10)
    assert drift.samples == 450
    assert [feature.name for feature in drift.features][-1] == "prediction"
    assert {feature.name for feature in drift.features if not feature.decides} == {"day_of_week", "month"}
    assert drift.live_squared_error < drift.baseline_squared_error
    interval = drift.squared_error_growth_interval
    assert interval.lower < drift.squared_error_growth < interval.upper
    assert kept == []


async def test_a_world_that_changed_is_found_and_learned(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """From `END_DAY` on, four of ten conversions no longer come."""
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    await insert_world(database.admin, later_rows(28, lower_by=0.4))
    async with stand(database, tmp_path) as jobs:
        jobs.times[0] += timedelta(days=28)
        said = await jobs.run("check_drift")
        (training,) = await jobs.trainings()
        live = await jobs.stub.ListModels(models_pb2.ListModelsRequest(statuses=["live"]))
        again = await jobs.run("check_drift")
    assert said.startswith("version 1 is degraded: its squared error has grown by")
    assert said.endswith("Trained again: version 2 is live")
    assert (training.cause, training.state) == ("drift", "promoted")
    assert "squared error has grown" in training.comment
    assert [model.version for model in live.models] == [2]
    assert again.startswith("version 2 is insufficient")


async def test_offers_that_moved_are_drift(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    await insert_world(database.admin, trained.world.rows)
    await trained.publish(database.optimizer, tmp_path)
    await insert_world(database.admin, later_rows(7, raise_offer_micros=8_000_000))
    async with stand(database, tmp_path) as jobs:
        jobs.times[0] += timedelta(days=7)
        await jobs.run("check_drift")
        drift = await jobs.stub.GetModelDrift(models_pb2.GetModelDriftRequest())
    moved = {feature.name: feature for feature in drift.features if feature.move == "large"}
    assert "offer_amount" in moved
    assert moved["offer_amount"].population_stability_index > moved["offer_amount"].chance_limit
    assert drift.triggers_training
    assert any("offer_amount has moved" in reason for reason in drift.reasons)


async def test_drift_is_not_measured_without_a_model_or_its_file(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with stand(database, tmp_path) as jobs:
        none = await jobs.run("check_drift")
        await trained.publish(database.optimizer, tmp_path)
        (tmp_path / "conversion/1/model.onnx").unlink()
        gone = await jobs.run("check_drift")
    assert none == "not measured: no model is live"
    assert gone.startswith("not measured: drift of version 1 cannot be measured")


async def test_the_process_measures_drift_and_refuses_in_its_own_words(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    process = TrainingProcess(database_url=database.optimizer, repository=tmp_path, timeout_seconds=900.0)
    with pytest.raises(FailedPreconditionError, match="no model is live") as refused:
        await process.measure_drift(END_DAY)
    assert refused.value.reason == "MODEL_NOT_TRAINED"
