"""Trainings over a real database and repository: verdicts and refusals."""

import asyncio
import os
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import models_pb2, offers_pb2
from gen.campaigns.optimizer.v1 import training_pb2 as pb
from services.common.errors import FailedPreconditionError
from services.common.wire import datetime_to_timestamp
from tests.contract.optimizer.harness import (
    NOON,
    fetch_rows,
    insert_world,
    refusal_of,
    running_model_server,
)
from tests.integration.optimizer.trainings import files_in, quickly_training_optimizer, statuses, training_of
from tests.unit.optimizer.synthetic import END_DAY, build_world

MOVE_ROWS = "update analytics.campaign_delivery_daily set views = views where extract(isodow from day) < 4"
"""Rows that are written again lie elsewhere, and are read in another order by whoever asks for none."""
DAY = timedelta(days=1)
LATER = END_DAY + timedelta(days=20)


async def test_a_model_of_noise_is_kept_as_rejected(database: DatabaseAddresses, tmp_path: Path) -> None:
    await insert_world(database.admin, build_world(noise_only=True).rows)
    async with (
        running_model_server(tmp_path) as port,
        quickly_training_optimizer(database, tmp_path, port) as stub,
    ):
        trained = await stub.TrainModel(pb.TrainModelRequest())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id="campaign-0"))
    assert trained.status == "rejected"
    assert "does not beat the mean conversion rate of each campaign type" in trained.reason
    assert trained.r2_score < 0.05
    assert refusal_of(refused.value).reason == "MODEL_NOT_TRAINED"
    assert await statuses(database) == [(1, "rejected")]
    assert not (tmp_path / "conversion/config.pbtxt").exists()


async def test_a_second_training_must_beat_the_live_version(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    """The same data again is no better; later data from another world makes the next version better.

    That one is not made live again by the same training after somebody went back from it.
    """
    await insert_world(database.admin, build_world().rows)
    times = [NOON]
    async with (
        running_model_server(tmp_path) as port,
        quickly_training_optimizer(database, tmp_path, port, clock=lambda: times[0]) as stub,
    ):
        first = await stub.TrainModel(pb.TrainModelRequest())
        await fetch_rows(database.admin, MOVE_ROWS)
        again = await stub.TrainModel(pb.TrainModelRequest())
        changed = build_world(seed=2, days=60, end_day=LATER + timedelta(days=40))
        recent = [row for row in changed.rows if row[1] >= END_DAY]
        await insert_world(database.admin, recent)
        times[0] = datetime.combine(LATER + timedelta(days=40), time(12), tzinfo=UTC)
        newer = await stub.TrainModel(pb.TrainModelRequest())
        answer = await stub.OptimizeOffer(offers_pb2.OptimizeOfferRequest(campaign_id="campaign-0"))
        earlier = await stub.TrainModel(
            pb.TrainModelRequest(as_of=datetime_to_timestamp(NOON - timedelta(days=10)))
        )
        older = await stub.TrainModel(
            pb.TrainModelRequest(as_of=datetime_to_timestamp(times[0] - timedelta(days=1)))
        )
        await stub.RollbackModel(models_pb2.RollbackModelRequest(expected_live_version=3))
        undoing = await stub.TrainModel(pb.TrainModelRequest())
    assert (first.status, again.status, newer.status) == ("success", "rejected", "success")
    assert again.reason == "it is the same as version 1, which is live"
    assert (again.r2_score, again.mae) == (first.r2_score, first.mae)
    assert undoing.status == "rejected"
    assert undoing.reason == (
        "it is the same as version 3, which is retired; RollbackModel puts that one live again"
    )
    assert answer.model_version == 3
    for refused, end_day in ((earlier, END_DAY - timedelta(days=10)), (older, times[0].date() - DAY)):
        assert refused.status == "rejected"
        assert refused.reason.startswith(f"its data end before {end_day}, and those of live version 3 before")
    assert await statuses(database) == [
        (1, "live"),
        (2, "rejected"),
        (3, "retired"),
        (4, "rejected"),
        (5, "rejected"),
        (6, "rejected"),
    ]
    config = (tmp_path / "conversion/config.pbtxt").read_text()
    assert "specific: { versions: [ 1, 3 ] }" in config


async def test_too_little_data_is_refused_and_says_what_is_missing(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world(campaigns=3, days=5, impressions=20).rows)
    with pytest.raises(FailedPreconditionError) as refused:
        await training_of(database, tmp_path).run(END_DAY, lambda _: None)
    assert refused.value.reason == "DATA_INSUFFICIENT"
    assert "5 of 14 days" in refused.value.message
    assert "15 of 100 rows" in refused.value.message
    assert await statuses(database) == []
    assert files_in(tmp_path) == []


async def test_without_any_data_it_is_refused_before_anything_heavy_is_imported(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    await insert_world(database.admin, build_world(campaigns=3, days=5, impressions=20).rows)
    look = (
        "import runpy, sys; sys.argv = ['training', '--end-day', '2020-01-01']\n"
        "try: runpy.run_module('services.optimizer.training', run_name='__main__')\n"
        "except SystemExit as ended: print(ended.code, sorted({'onnx', 'sklearn'} & set(sys.modules)))"
    )
    settings = {"OPTIMIZER_DATABASE_URL": database.optimizer, "MODEL_REPOSITORY": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        look,
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    refusal, ended = said.decode().splitlines()
    assert "0 of 14 days" in refusal
    assert "DATA_INSUFFICIENT" in refusal
    assert ended == "3 []"


async def test_only_whole_days_before_the_time_asked_for_are_read(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    """At noon of the last day, that day is not over; in Auckland it began half a day earlier."""
    await insert_world(database.admin, build_world(days=70).rows)
    admin_change = "update analytics.reporting_settings set reporting_time_zone = 'Pacific/Auckland'"
    await fetch_rows(database.admin, admin_change)
    as_of = datetime(2026, 11, 14, 12, tzinfo=UTC)
    async with (
        running_model_server(tmp_path) as port,
        quickly_training_optimizer(database, tmp_path, port) as stub,
    ):
        await stub.TrainModel(pb.TrainModelRequest(as_of=datetime_to_timestamp(as_of)))
    (row,) = await fetch_rows(database.reporting, "select first_day, end_day from ml_models")
    assert row["end_day"] == date(2026, 11, 15)
    assert row["first_day"] == date(2026, 11, 15) - timedelta(days=90)
