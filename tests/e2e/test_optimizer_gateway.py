"""The optimizer over REST and gRPC: the real gateway before the real service and model server."""

import asyncio
import http.client
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import numpy as np
import pytest

from deploy.local.bootstrap import DatabaseAddresses
from gen.campaigns.optimizer.v1 import (
    models_pb2,
    offer_constraints_pb2,
    policies_pb2,
    recommendations_pb2,
    segments_pb2,
)
from gen.campaigns.optimizer.v1.optimizer_service_pb2_grpc import OptimizerServiceStub
from services.common.database import Database
from services.optimizer.operations.offer_outcomes import OutcomeKeeper
from tests.contract.optimizer.event_log import CONVERTED, DELIVERED, Event, insert_campaigns, insert_events
from tests.contract.optimizer.harness import fetch_rows, insert_world
from tests.e2e.optimizer_stand import Client, running_optimizer_gateway
from tests.unit.optimizer.synthetic import build_world

ZONE = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
"""Where it is about noon, so that no day ends amid the tests; the zone's name counts hours to the west."""
TODAY = datetime.now(ZoneInfo(ZONE)).date()
"""The world ends yesterday: the service's clock is the real one."""
DAY = timedelta(days=1)
LOW_OFFER = 5.0


@pytest.fixture(scope="module")
def client(
    module_database: DatabaseAddresses, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Client]:
    """A client of a gateway with the optimizer and the model server behind it; offers are all too low."""
    world = build_world(end_day=TODAY)
    low = [round(LOW_OFFER * 1_000_000)] * len(world.last_offers)
    asyncio.run(insert_world(module_database.admin, world.rows, catalog_offers=low))
    asyncio.run(set_zone(module_database.admin))
    folder = tmp_path_factory.mktemp("optimizer_gateway")
    with running_optimizer_gateway(module_database, folder, free_port) as running:
        yield running


async def set_zone(url: str) -> None:
    await fetch_rows(url, "update analytics.reporting_settings set reporting_time_zone = $1", ZONE)


@pytest.fixture(scope="module")
def trained(client: Client) -> dict[str, Any]:
    """What a training through the gateway answered."""
    return client.post("/train-model", actor="anna", comment="the first one")


def test_a_training_is_asked_for_and_answered(trained: dict[str, Any]) -> None:
    assert trained["status"] == "success", trained
    assert trained["version"] == 1
    assert trained["r2_score"] > 0.5
    assert int(trained["samples"]) > 1_000


@pytest.mark.usefixtures("trained")
def test_a_planned_campaign_is_predicted(client: Client) -> None:
    plan: dict[str, object] = {
        "campaign_type": "CAMPAIGN_TYPE_FLASH_SALE",
        "merchant_id": 2,
        "offer_amount": 15,
    }
    answer = client.get("/predict", **plan, impressions=1000)
    interval = answer["predicted_conversion_rate_interval"]
    assert interval["lower"] < answer["predicted_conversion_rate"] < interval["upper"]
    assert answer["predicted_conversions_interval"]["lower"] < answer["predicted_conversions"]
    assert answer["model_version"] == 1

    status, refused = client.ask("GET", "/predict", query={**plan, "offer_amount": 26})
    assert status == http.client.BAD_REQUEST
    fields = [violation for detail in refused["details"] for violation in detail.get("field_violations", [])]
    assert [violation["field"] for violation in fields] == ["offer_amount"]


@pytest.mark.usefixtures("trained")
def test_what_the_catalog_does_not_know_is_not_found(client: Client) -> None:
    plan = {"campaign_type": "CAMPAIGN_TYPE_FLASH_SALE", "merchant_id": 777, "offer_amount": 15}
    asked: list[tuple[str, Mapping[str, object]]] = [
        ("/predict", plan),
        ("/offer/nobody", {}),
        ("/recommendations/nobody", {}),
    ]
    for path, query in asked:
        status, refused = client.ask("GET", path, query=query)
        assert status == http.client.NOT_FOUND, (path, refused)


def test_without_affinities_the_job_to_run_is_named(client: Client, trained: dict[str, Any]) -> None:
    assert trained["version"] == 1
    status, refused = client.ask("GET", "/campaigns-for-user/anna")
    assert status == http.client.BAD_REQUEST
    assert "affinity_model" in refused["message"]


@pytest.mark.usefixtures("trained")
def test_models_trainings_and_jobs_are_listed(client: Client) -> None:
    assert [model["version"] for model in client.get("/models")["models"]] == [1]
    assert len(client.get("/trainings")["trainings"]) == 1
    jobs = {job["job_name"] for job in client.get("/jobs")["jobs"]}
    assert {"retrain_model", "affinity_model", "send_times", "outcomes"} <= jobs
    status, asked = client.ask("POST", "/jobs/check_drift/run", {})
    assert (status, asked["job"]["job_name"]) == (http.client.OK, "check_drift")
    assert client.ask("POST", "/jobs/nothing/run", {})[0] == http.client.NOT_FOUND


@pytest.mark.usefixtures("trained")
def test_a_recommendation_lives_from_its_making_to_its_outcome(
    client: Client, module_database: DatabaseAddresses
) -> None:
    made = offer_of(client.get("/recommendations/campaign-0"))
    path = f"/recommendations/{made['recommendation_id']}"
    assert (made["type"], made["status"]) == ("offer_amount", "open")
    assert made["confidence"] >= 0.8
    assert made["expected_effect_interval"]["lower"] < made["expected_effect"]
    assert float(made["choice"]) > LOW_OFFER
    assert offer_of(client.get("/recommendations/campaign-0")) == made

    accepted = client.post(f"{path}/accept", actor="anna", comment="let us")["recommendation"]
    assert client.post(f"{path}/accept", actor="ben")["recommendation"] == accepted
    applied = client.post(f"{path}/apply", actor="anna")["recommendation"]
    assert client.post(f"{path}/apply", actor="ben")["recommendation"] == applied
    assert [(each["action"], each["actor"]) for each in applied["decisions"]] == [
        ("create", "optimizer"),
        ("accept", "anna"),
        ("apply", "anna"),
    ]
    assert client.refused("POST", f"{path}/dismiss", {}) == (400, "RECOMMENDATION_CLOSED")
    assert withheld(client.get("/recommendations/campaign-0"))["offer_amount"] == "ALREADY_APPLIED"
    assert client.get("/outcomes", campaign_id="campaign-0")["outcomes"] == []

    asyncio.run(eleven_days_later(module_database, float(made["choice"])))
    (outcome,) = client.get("/outcomes", campaign_id="campaign-0")["outcomes"]
    assert outcome["source_id"] == made["recommendation_id"]
    assert outcome["offer_amount"] == float(made["choice"])
    assert outcome["observed_views"] == "2000"
    assert outcome["observed_conversion_rate"] == pytest.approx(0.3, abs=0.001)
    assert outcome["predicted_conversion_rate_interval"]["lower"] < outcome["predicted_conversion_rate"]
    assert not outcome["is_final"]


def offer_of(answer: dict[str, Any]) -> dict[str, Any]:
    (offer,) = [each for each in answer["recommendations"] if each["type"] == "offer_amount"]
    return dict(offer)


def withheld(answer: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in answer["withheld"]}


async def eleven_days_later(addresses: DatabaseAddresses, offer: float) -> None:
    """Ten days of the new offer come in, and a replica whose clock is that far on measures them."""
    for ahead in range(1, 11):
        await fetch_rows(
            addresses.admin,
            "insert into analytics.campaign_delivery_daily"
            " values ('campaign-0', $1, $2, 1, 1, 200, 200, 0, $3, 0, 0, 0, 0, 0, 0)",
            TODAY + ahead * DAY,
            round(offer * 1_000_000),
            60 + ahead % 2 * 2 - 1,
        )
    database = await Database.open(addresses.optimizer, application_name="test")
    try:
        await OutcomeKeeper(database, now=lambda: datetime.now(UTC) + 11 * DAY).reckon()
    finally:
        await database.close()


@pytest.mark.usefixtures("trained")
async def test_a_recommendation_is_dismissed_over_grpc(client: Client) -> None:
    asked = recommendations_pb2.GetOptimizationRecommendationsRequest(campaign_id="campaign-1")
    async with grpc.aio.insecure_channel(client.target) as channel:
        stub = OptimizerServiceStub(channel)
        made = await stub.GetOptimizationRecommendations(asked)
        (offer,) = [each for each in made.recommendations if each.type == "offer_amount"]
        named = {"recommendation_id": offer.recommendation_id}
        dismissing = recommendations_pb2.DismissRecommendationRequest(**named, actor="anna", comment="no")
        first = await stub.DismissRecommendation(dismissing)
        again = await stub.DismissRecommendation(dismissing)
        with pytest.raises(grpc.aio.AioRpcError) as closed:
            await stub.AcceptRecommendation(recommendations_pb2.AcceptRecommendationRequest(**named))
        later = await stub.GetOptimizationRecommendations(asked)
    assert first.recommendation.status == "dismissed"
    assert again == first
    assert closed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert {each.type: each.reason for each in later.withheld}["offer_amount"] == "DISMISSED"


@pytest.mark.usefixtures("trained")
async def test_constraints_are_set_by_rest_and_kept_by_grpc(client: Client) -> None:
    free = client.get("/offer/campaign-2")
    cap = free["offer_amount"] - 1.0
    before = client.get("/offer-constraints", campaign_id="campaign-2")["constraints"]
    wanted = {"campaign_id": "campaign-2", "maximum_offer": cap, "actor": "anna", "etag": before["etag"]}
    kept = client.post("/offer-constraints", **wanted)["constraints"]
    assert client.post("/offer-constraints", **wanted)["constraints"] == kept
    async with grpc.aio.insecure_channel(client.target) as channel:
        stub = OptimizerServiceStub(channel)
        told = await stub.GetOfferConstraints(
            offer_constraints_pb2.GetOfferConstraintsRequest(campaign_id="campaign-2")
        )
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.SetOfferConstraints(
                offer_constraints_pb2.SetOfferConstraintsRequest(
                    campaign_id="campaign-2", maximum_offer=25.0, etag=before["etag"]
                )
            )
    assert (told.constraints.maximum_offer, told.constraints.etag) == (cap, kept["etag"])
    assert late.value.code() is grpc.StatusCode.ABORTED
    assert client.refused("POST", "/offer-constraints", {**wanted, "actor": "ben"}) == (409, "STATE_CHANGED")
    misspelt = {"campaign_id": "campaign-2", "maximum_offr": cap}
    assert client.refused("POST", "/offer-constraints", misspelt) == (400, "FIELD_REQUIRED")
    capped = client.get("/offer/campaign-2")
    assert capped["offer_amount"] == cap
    assert capped["unconstrained_offer_amount"] == free["offer_amount"]
    assert [each["is_binding"] for each in capped["constraints"]] == [True]


@pytest.mark.usefixtures("trained")
async def test_a_policy_is_evaluated_by_rest_and_grpc(
    client: Client, module_database: DatabaseAddresses
) -> None:
    await insert_campaigns(module_database.admin, ["drawn"])
    await insert_events(module_database.admin, drawn_deliveries())
    body: dict[str, Any] = {
        "campaign_ids": ["drawn"],
        "rules": [{"choices": [{"offer_amount": 20, "probability": 1}]}],
    }
    answer = client.post("/policies/evaluate", **body)
    async with grpc.aio.insecure_channel(client.target) as channel:
        asked = policies_pb2.EvaluateOfferPolicyRequest(**body)
        same = await OptimizerServiceStub(channel).EvaluateOfferPolicy(asked)
    assert answer["doubly_robust"]["value"] == same.doubly_robust.value
    assert answer["margins"] == [{"campaign_id": "drawn", "gross_margin_rate": 0.5, "source": "campaign"}]
    assert answer["effective_sample_size"] > 150
    interval = answer["improvement"]["interval"]
    assert interval["lower"] < answer["improvement"]["value"] < interval["upper"]
    body["rules"] = [{"choices": [{"offer_amount": 15}]}]
    assert client.refused("POST", "/policies/evaluate", body) == (400, "OVERLAP_MISSING")


def drawn_deliveries() -> list[Event]:
    """Deliveries of 10 or 20, drawn evenly, ten days ago; with 20, twice as many pay 60."""
    rng, events = np.random.default_rng(3), []
    noon = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC) - 10 * DAY
    for place in range(400):
        sent = Event(
            user_id=f"u{place}",
            event_id="d",
            event_type=DELIVERED,
            at=noon,
            campaign_id="drawn",
            offer=float(rng.choice([10, 20])),
            propensity=0.5,
        )
        events.append(sent)
        if rng.random() < (0.4 if sent.offer == 20 else 0.2):
            events.append(
                Event(
                    user_id=sent.user_id,
                    event_id="c",
                    event_type=CONVERTED,
                    at=noon + timedelta(hours=1),
                    campaign_id="drawn",
                    revenue=60,
                )
            )
    return events


@pytest.mark.usefixtures("trained")
async def test_segments_are_ranked(client: Client, module_database: DatabaseAddresses) -> None:
    assert client.refused("GET", "/segments/campaign-3") == (400, "SEGMENTS_UNKNOWN")
    for segment, bought in (("loyal", 80), ("lapsed", 20), ("", 50)):
        await fetch_rows(
            module_database.admin,
            "insert into analytics.campaign_segment_moments values ('campaign-3', 'given', $1, 200, 0, 200,"
            " 200, 0, $2, 0, 0, 200, 200, 0, 200, $2, 0, $2, 0, 0, 0)",
            segment,
            bought,
        )
    ranked = client.get("/segments/campaign-3")["segments"]
    async with grpc.aio.insecure_channel(client.target) as channel:
        request = segments_pb2.GetSegmentRecommendationsRequest(campaign_id="campaign-3")
        same = await OptimizerServiceStub(channel).GetSegmentRecommendations(request)
    assert [each["segment_name"] for each in ranked] == ["loyal", "lapsed"]
    assert [each.segment_name for each in same.segments] == ["loyal", "lapsed"]
    assert "uplift" not in ranked[0]


@pytest.mark.usefixtures("trained")
async def test_going_back_is_asked_twice_and_done_once(
    client: Client, module_database: DatabaseAddresses
) -> None:
    """A second version that was live before the first: the first one's copy."""
    shutil.copytree(client.models / "conversion/1", client.models / "conversion/2")
    await fetch_rows(
        module_database.admin,
        "insert into optimizer.ml_models select (jsonb_populate_record(m, $1::jsonb)).*"
        " from optimizer.ml_models m where version = 1",
        '{"version": 2, "status": "retired"}',
    )
    order = {"expected_live_version": 1, "actor": "anna", "comment": "odd offers"}
    back = client.post("/models/rollback", **order)
    assert (back["model"]["version"], back["previous_version"]) == (2, 1)
    assert client.refused("POST", "/models/rollback", order) == (409, "STATE_CHANGED")
    assert client.get("/offer/campaign-0")["model_version"] == 2
    (change,) = client.get("/models/changes", limit=1)["changes"]
    assert (change["previous_version"], change["version"], change["actor"]) == (1, 2, "anna")
    async with grpc.aio.insecure_channel(client.target) as channel:
        stub = OptimizerServiceStub(channel)
        request = models_pb2.RollbackModelRequest(version=1, expected_live_version=2)
        returned = [await stub.RollbackModel(request) for _ in range(2)]
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.RollbackModel(models_pb2.RollbackModelRequest(expected_live_version=2))
    assert [(each.model.version, each.previous_version) for each in returned] == [(1, 2), (1, 1)]
    assert late.value.code() is grpc.StatusCode.ABORTED
    assert "version 1 is" in str(late.value.details())
    assert client.get("/offer/campaign-0")["model_version"] == 1
