"""Training and recommending through a real stub, a real database and a real model server."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import training_pb2
from gen.campaigns.optimizer.v1.offers_pb2 import OptimizeOfferRequest
from services.optimizer.domain.features import FEATURE_NAMES
from tests.contract.optimizer.harness import (
    fetch_rows,
    insert_world,
    optimizer_settings,
    refusal_of,
    running_model_server,
    running_optimizer,
)
from tests.unit.optimizer.synthetic import MEAN_REVENUE, build_world


async def test_training_makes_a_model_live_that_recommends_good_offers(
    database: DatabaseAddresses, tmp_path: Path
) -> None:
    world = build_world()
    await insert_world(database.admin, world.rows, catalog_offers=world.last_offers)
    async with (
        running_model_server(tmp_path) as port,
        running_optimizer(optimizer_settings(database.optimizer, tmp_path, port)) as stub,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as untrained:
            await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id="campaign-0"))
        assert refusal_of(untrained.value).reason == "MODEL_NOT_TRAINED"
        assert untrained.value.code() is grpc.StatusCode.FAILED_PRECONDITION

        trained = await stub.TrainModel(training_pb2.TrainModelRequest())
        misses = []
        for campaign in range(len(world.campaign_types)):
            answer = await stub.OptimizeOffer(OptimizeOfferRequest(campaign_id=f"campaign-{campaign}"))
            misses.append(abs(answer.offer_amount - world.best_offer(campaign)))

    assert trained.status == "success", trained.reason
    assert trained.version == 1
    assert trained.r2_score > 0.7
    assert trained.response_r2_score > trained.r2_score - 0.05
    assert {score.name: score.r2_score < 0.4 for score in trained.baselines} == {
        "global_mean": True,
        "type_mean": True,
    }
    assert {entry.feature_name for entry in trained.feature_importance} == set(FEATURE_NAMES)
    assert trained.feature_importance[0].feature_name == "offer_amount"
    assert trained.parity_error <= 2e-6
    assert trained.samples + trained.held_out_samples == len(world.rows)
    assert np.mean(misses) < 1.5
    assert np.mean(np.array(misses) <= 2.0) >= 0.9

    assert len(answer.response_curve) == 41
    assert [point.offer_amount for point in answer.response_curve] == [5 + 0.5 * i for i in range(41)]
    best = next(point for point in answer.response_curve if point.offer_amount == answer.offer_amount)
    assert best.is_supported
    assert best.predicted_conversion_rate == answer.predicted_conversion_rate
    assert best.objective_value == pytest.approx(
        answer.predicted_conversion_rate * (MEAN_REVENUE - answer.offer_amount)
    )
    interval = answer.predicted_conversion_rate_interval
    assert interval.lower < answer.predicted_conversion_rate < interval.upper
    assert answer.current_offer == world.last_offers[-1] / 1e6
    assert answer.expected_improvement_percent >= 0.0
    assert 0.5 <= answer.confidence <= 1.0
    assert answer.confidence_method == "laplace_delta"
    assert answer.objective == "profit"
    assert answer.model_version == 1

    models = await fetch_rows(database.reporting, "select * from ml_models")
    assert [(row["version"], row["status"]) for row in models] == [(1, "live")]
    importances = await fetch_rows(database.reporting, "select * from model_feature_importance")
    assert len(importances) == len(FEATURE_NAMES)
    assert (tmp_path / "conversion/1/model.onnx").is_file()
    assert "specific: { versions: [ 1 ] }" in (tmp_path / "conversion/config.pbtxt").read_text()
