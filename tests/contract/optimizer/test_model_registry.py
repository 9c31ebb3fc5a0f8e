"""The registry through a real stub, a real database and a real model server: lists, details, going back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import model_changes_pb2
from gen.campaigns.optimizer.v1 import models_pb2 as pb
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.optimizer.domain.models.version import ModelStatus
from tests.contract.optimizer.conftest import Trained
from tests.contract.optimizer.harness import (
    NOON,
    Refusal,
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)

WEEK = timedelta(days=7)
STATUSES = (ModelStatus.RETIRED, ModelStatus.REJECTED, ModelStatus.RETIRED, ModelStatus.LIVE)


@asynccontextmanager
async def registry(
    database: DatabaseAddresses, trained: Trained, repository: Path
) -> AsyncIterator[OptimizerServiceStub]:
    """Four versions, a week apart: retired, rejected, retired, live."""
    await insert_world(database.admin, trained.world.rows)
    for version, status in enumerate(STATUSES, start=1):
        trained_at = NOON - (5 - version) * WEEK
        await trained.publish(database.optimizer, repository, version, status, trained_at)
    async with (
        running_model_server(repository) as port,
        running_optimizer(optimizer_settings(database.optimizer, repository, port)) as stub,
    ):
        yield stub


async def refused(stub: OptimizerServiceStub, request: pb.RollbackModelRequest) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.RollbackModel(request)
    return refusal_of(error.value)


async def test_versions_are_listed_by_page_and_status(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with registry(database, trained, tmp_path) as stub:
        first = await stub.ListModels(pb.ListModelsRequest(limit=3))
        rest = await stub.ListModels(pb.ListModelsRequest(limit=3, page_token=first.next_page_token))
        retired = await stub.ListModels(pb.ListModelsRequest(statuses=["retired"]))
        with pytest.raises(grpc.aio.AioRpcError) as other_list:
            token = first.next_page_token
            await stub.ListModels(pb.ListModelsRequest(statuses=["live"], page_token=token))
        details = await stub.GetModel(pb.GetModelRequest(version=4))
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.GetModel(pb.GetModelRequest(version=9))
    assert [model.version for model in (*first.models, *rest.models)] == [4, 3, 2, 1]
    assert rest.next_page_token == ""
    assert [(model.version, model.status) for model in retired.models] == [(3, "retired"), (1, "retired")]
    assert refusal_of(other_list.value).reason == "PAGE_TOKEN_INVALID"
    assert refusal_of(unknown.value).reason == "MODEL_UNKNOWN"
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND

    model, scores = details.model, trained.model.scores
    assert (model.status, model.r2_score, model.parity_error) == (
        "live",
        scores.r2_score,
        trained.model.parity_error,
    )
    assert [baseline.name for baseline in model.baselines] == ["global_mean", "type_mean"]
    assert model.has_file
    assert details.feature_importance[0].feature_name == "offer_amount"
    calibration = details.calibration
    assert calibration.slope.interval.lower < calibration.slope.value < calibration.slope.interval.upper
    assert 0.8 < calibration.slope.value < 1.25
    assert calibration.expected_calibration_error < 0.05
    assert sum(each.views for each in calibration.bins) <= trained.model.data.views
    for each in calibration.bins:
        interval = each.observed_rate_interval
        assert 0.0 <= interval.lower < each.observed_rate < interval.upper <= 1.0


async def test_going_back_loses_no_request(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    """While offers are asked for without a pause, the live version goes 4, 3, 1, 4 and 1.

    Going back without a version never returns to one that was gone back from.
    """
    served: list[int] = []
    stopping = asyncio.Event()
    changes_request = model_changes_pb2.ListModelChangesRequest

    async def keep_asking(stub: OptimizerServiceStub) -> None:
        while not stopping.is_set():
            answer = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-1"))
            served.append(answer.model_version)

    async with registry(database, trained, tmp_path) as stub:
        asking = asyncio.gather(*(keep_asking(stub) for _ in range(4)))
        while 4 not in served and not asking.done():
            await asyncio.sleep(0.01)
        back = await stub.RollbackModel(pb.RollbackModelRequest(actor="anna", comment="odd offers"))
        again = await stub.RollbackModel(pb.RollbackModelRequest())
        with pytest.raises(grpc.aio.AioRpcError) as none_left:
            await stub.RollbackModel(pb.RollbackModelRequest())
        later = await stub.RollbackModel(pb.RollbackModelRequest(version=4))
        same = await stub.RollbackModel(pb.RollbackModelRequest(version=4))
        first = await stub.RollbackModel(pb.RollbackModelRequest())
        last = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-1"))
        page = await stub.ListModelChanges(changes_request(limit=3))
        older = await stub.ListModelChanges(changes_request(limit=3, page_token=page.next_page_token))
        while served[-1] != 1 and not asking.done():
            await asyncio.sleep(0.01)
        stopping.set()
        await asking
    assert (back.model.version, back.previous_version) == (3, 4)
    assert back.model.status == "live"
    assert back.model.status_reason == "rolled back to version 3 by anna: odd offers"
    assert (again.model.version, again.previous_version) == (1, 3)
    assert refusal_of(none_left.value).reason == "MODEL_NOT_RESTORABLE"
    assert "name one of these to return to it" in refusal_of(none_left.value).message
    assert (later.model.version, later.previous_version) == (4, 1)
    assert later.model.status_reason == "returned to later version 4"
    assert (same.model.version, same.previous_version) == (4, 4)
    assert (first.model.version, first.previous_version) == (1, 4)
    assert last.model_version == 1
    changes = [*page.changes, *older.changes]
    assert older.next_page_token == ""
    assert [(each.change_number, each.kind, each.previous_version, each.version) for each in changes] == [
        (4, "rollback", 4, 1),
        (3, "return", 1, 4),
        (2, "rollback", 3, 1),
        (1, "rollback", 4, 3),
    ]
    assert all(each.cause == "request" and not each.is_automatic for each in changes)
    assert [(each.actor, each.comment) for each in changes] == [("", "")] * 3 + [("anna", "odd offers")]
    assert changes[-1].reason == back.model.status_reason
    assert changes[-1].change_time == back.model.status_time
    ends = [each.end_time for each in changes[1:]]
    assert ends == [each.change_time for each in changes[:-1]]
    assert not changes[0].HasField("end_time")
    assert {1, 4} <= set(served) <= {1, 3, 4}
    rows = await fetch_rows(database.reporting, "select version, status from ml_models order by version")
    assert [row["status"] for row in rows] == ["live", "rejected", "retired", "retired"]
    config = (tmp_path / "conversion/config.pbtxt").read_text()
    assert "specific: { versions: [ 1, 3, 4 ] }" in config


async def test_a_request_that_is_sent_again_goes_back_once(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with registry(database, trained, tmp_path) as stub:
        once = pb.RollbackModelRequest(expected_live_version=4)
        both = await asyncio.gather(*(stub.RollbackModel(once) for _ in range(2)), return_exceptions=True)
        named = pb.RollbackModelRequest(version=4, expected_live_version=3)
        other = await refused(stub, pb.RollbackModelRequest(version=1, expected_live_version=4))
        later = [await stub.RollbackModel(named) for _ in range(2)]
        unmet = await refused(stub, pb.RollbackModelRequest(version=9, expected_live_version=3))
        zero = await refused(stub, pb.RollbackModelRequest(expected_live_version=0))
    (done,) = [answer for answer in both if isinstance(answer, pb.RollbackModelResponse)]
    (late,) = [refusal_of(error) for error in both if isinstance(error, grpc.aio.AioRpcError)]
    assert (done.model.version, done.previous_version) == (3, 4)
    assert (late.code, late.reason) == ("ABORTED", "STATE_CHANGED")
    assert late.message == "version 4 is not live, version 3 is; nothing was changed"
    assert other == late
    assert [(answer.model.version, answer.previous_version) for answer in later] == [(4, 3), (4, 4)]
    assert unmet.message == "version 3 is not live, version 4 is; nothing was changed"
    assert (zero.code, zero.fields) == ("INVALID_ARGUMENT", ("expected_live_version",))


async def test_what_cannot_be_gone_back_to(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with registry(database, trained, tmp_path) as stub:
        rejected = await refused(stub, pb.RollbackModelRequest(version=2))
        unknown = await refused(stub, pb.RollbackModelRequest(version=9))
        zero = await refused(stub, pb.RollbackModelRequest(version=0))
        (tmp_path / "conversion/3/model.onnx").unlink()
        gone = await refused(stub, pb.RollbackModelRequest())
        (tmp_path / "conversion/1/model.onnx").write_bytes(b"no model")
        before = (tmp_path / "conversion/config.pbtxt").read_bytes()
        broken = await refused(stub, pb.RollbackModelRequest(version=1))
        answer = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-1"))
    assert (rejected.code, rejected.reason) == ("FAILED_PRECONDITION", "MODEL_NOT_RESTORABLE")
    assert "was never live" in rejected.message
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "MODEL_UNKNOWN")
    assert (zero.code, zero.fields) == ("INVALID_ARGUMENT", ("version",))
    assert "must be at least 1" in zero.message
    assert "required" not in zero.message
    assert gone.reason == "MODEL_NOT_RESTORABLE"
    assert "is gone from the model repository" in gone.message
    assert broken.reason in {"PEER_FAILED", "PEER_FAILED_PRECONDITION"}
    assert answer.model_version == 4
    assert (tmp_path / "conversion/config.pbtxt").read_bytes() == before
    rows = await fetch_rows(database.reporting, "select status from ml_models order by version")
    assert tuple(row["status"] for row in rows) == STATUSES


async def test_with_nothing_to_go_back_to(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
    ):
        none = await refused(stub, pb.RollbackModelRequest())
        never = await refused(stub, pb.RollbackModelRequest(expected_live_version=1))
        with pytest.raises(grpc.aio.AioRpcError) as untrained:
            await stub.GetModelDrift(pb.GetModelDriftRequest())
        await trained.publish(database.optimizer, tmp_path)
        with pytest.raises(grpc.aio.AioRpcError) as unmeasured:
            await stub.GetModelDrift(pb.GetModelDriftRequest())
    assert none.reason == "MODEL_NOT_RESTORABLE"
    assert "no version was ever live; train one first" in none.message
    assert (never.reason, never.message) == (
        "STATE_CHANGED",
        "version 1 is not live, none is; nothing was changed",
    )
    assert refusal_of(untrained.value).reason == "MODEL_NOT_TRAINED"
    assert refusal_of(unmeasured.value).reason == "DRIFT_UNKNOWN"
    assert "check_drift" in refusal_of(unmeasured.value).message


async def test_a_repository_that_cannot_be_written_is_no_lost_database(
    database: DatabaseAddresses, trained: Trained, tmp_path: Path
) -> None:
    async with registry(database, trained, tmp_path) as stub:
        blocked = tmp_path / "conversion/.staging-config.pbtxt"
        blocked.mkdir()
        refusal = await refused(stub, pb.RollbackModelRequest())
        blocked.rmdir()
        back = await stub.RollbackModel(pb.RollbackModelRequest())
    assert refusal.code == "INTERNAL"
    assert refusal.message == "the model repository cannot be written: Is a directory"
    assert back.model.version == 3
