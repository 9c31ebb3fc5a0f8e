"""A test's life over REST: the real gateway before the real service, by nearly every path of abtest."""

import asyncio
import http.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.local.bootstrap import DatabaseAddresses
from tests.abtest_factories import CONTROL_CAMPAIGN, VARIANT_CAMPAIGN, add_campaigns
from tests.e2e.real_gateway import RestClient, running_gateway, wait_for


@pytest.fixture(scope="module")
def client(
    module_database: DatabaseAddresses, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[RestClient]:
    """A client of a gateway that has nothing but abtest behind it."""
    asyncio.run(add_campaigns(module_database.admin))
    running = RestClient(free_port(), prefix="/api/ab-tests", probe="/history")
    environment = {"ABTEST_DATABASE_URL": module_database.abtest, "ABTEST_JOB_POLL_SECONDS": "0.2"}
    folder = tmp_path_factory.mktemp("abtest_gateway")
    services = {"abtest": free_port()}
    with running_gateway(running, folder, free_port, services=services, environment=environment):
        yield running


def create(client: RestClient, **fields: Any) -> str:  # noqa: ANN401 (a body's fields)
    body = {
        "test_name": "five against ten",
        "control_campaign_id": CONTROL_CAMPAIGN,
        "variant_campaign_id": VARIANT_CAMPAIGN,
        "target_sample_size": 1000,
    }
    return str(client.post("/create", **(body | fields))["test_id"])


def test_a_test_lives_over_rest(client: RestClient) -> None:
    test = create(
        client,
        is_draft=True,
        decision_method="group_sequential",
        planned_looks=4,
        hypothesis="ten beats five",
        primary_metric={"metric_type": "revenue_per_user", "window_hours": 72},
        guardrail_metrics=[
            {
                "metric_type": "ratio",
                "numerator": "clicks",
                "denominator": "views",
                "non_inferiority_margin": 0.1,
            }
        ],
        targeting={"exclude_segments": ["staff"]},
        exclusion_group="home",
        exclusion_share=0.9,
        actor="ada",
    )
    assert client.get(f"/{test}/status")["status"] == "draft"
    assert client.post(f"/{test}/start", actor="ben")["test"]["status"] == "running"
    assert client.post(f"/{test}/update", coverage=0.9)["test"]["weight_epoch"] == 2
    assert client.post(f"/{test}/pause")["test"]["status"] == "paused"
    assert client.post(f"/{test}/resume")["test"]["status"] == "running"
    definition = client.get(f"/{test}/definition")
    assert definition["test"]["guardrail_metrics"][0]["metric_name"] == "clicks_per_views"
    assert definition["test"]["targeting"] == {"include_segments": [], "exclude_segments": ["staff"]}
    assert [epoch["coverage"] for epoch in definition["weight_epochs"]] == [1, 0.9]
    users = [f"u{number}" for number in range(20)]
    assigned = client.post(f"/{test}/assign-users", user_ids=users)["assignments"]
    enrolled = [each for each in assigned if "assigned_group" in each]
    assert [each["user_id"] for each in assigned] == users
    assert enrolled
    user = enrolled[0]["user_id"]
    group = client.get(f"/{test}/user-group/{user}")["assigned_group"]
    assert group == client.get(f"/assign-user/{test}/{user}")["assigned_group"]
    exposure = {"test_id": test, "user_id": user, "source": "app"}
    assert client.post("/exposures", exposures=[exposure])["accepted_count"] == 1
    assert client.get(f"/{test}/exposures")["sources"][0]["source"] == "app"
    assert client.get("/exclusion-groups")["exclusion_groups"][0]["exclusion_group"] == "home"
    assert client.post(f"/{test}/analyze")["verdict"] == "continue"
    ended = client.post(f"/{test}/end", actor="ada", comment="enough")
    assert (ended["is_active"], ended["test_id"]) == (False, test)
    assert len(client.get(f"/{test}/results", page_size=1)["results"]) == 1
    assert client.post(f"/{test}/archive")["test"]["status"] == "archived"
    changes = client.get(f"/{test}/changes", page_size=3)
    assert [change["action"] for change in changes["changes"]] == ["archive", "end", "resume"]
    assert changes["changes"][1]["comment"] == "enough"
    assert client.get("/history", statuses=["archived", "ended"], limit=5)["tests"][0]["test_id"] == test


def test_jobs_run_by_themselves_and_can_be_run(client: RestClient) -> None:
    def has_run(job: dict[str, Any]) -> bool:
        return "last_succeeded_time" in job and not job["last_error"]

    jobs: dict[str, dict[str, Any]] = {}

    def all_have_run() -> bool:
        jobs.update((job["job_name"], job) for job in client.get("/jobs")["jobs"])
        return bool(jobs) and all(has_run(job) for job in jobs.values())

    wait_for(all_have_run, lambda: f"some job has not run: {jobs}")
    for name in jobs:
        assert client.post(f"/jobs/{name}/run")["job"]["job_name"] == name
    status, _ = client.ask("POST", "/jobs/none/run", {})
    assert status == http.client.NOT_FOUND


def test_what_surrounds_tests_has_its_paths(client: RestClient) -> None:
    assert client.post("/holdouts", holdout_id="h", share=0.1)["holdout"]["share"] == 0.1
    assert client.post("/holdouts/h/end")["holdout"]["end_time"]
    assert [holdout["holdout_id"] for holdout in client.get("/holdouts")["holdouts"]] == ["h"]
    plan = {"baseline_conversion_rate": 0.1, "minimum_detectable_effect": 0.2}
    assert client.get("/sample-size", **plan)["required_sample_size_per_variant"] == "3841"
    power = client.get("/power", **plan, sample_size_per_variant=1000)["power"]
    assert power == pytest.approx(0.298, abs=5e-4)
    smallest = client.get(
        "/minimum-detectable-effect", baseline_conversion_rate=0.1, sample_size_per_variant=3841
    )
    assert smallest["minimum_detectable_effect"] == pytest.approx(0.2, abs=1e-3)
    assert client.get("/duration", campaign_ids=[CONTROL_CAMPAIGN], target_sample_size=10)["users"] == "0"
    bandit = create(client, bandit={"exploration_floor": 0.1}, is_draft=True)  # no job looks at it yet
    assert client.get(f"/{bandit}/bandit")["settings"]["exploration_floor"] == 0.1
    assert client.get(f"/{bandit}/bandit/steps")["steps"] == []
    running = create(client)
    overlaps = client.get("/overlaps", campaign_id=CONTROL_CAMPAIGN)["tests"]
    assert running in {test["test_id"] for test in overlaps}


@pytest.mark.parametrize(
    ("asked", "status", "reason", "field"),
    [
        (("POST", "/create", {"test_name": "t"}), 400, "INVALID_FIELD", "control_campaign_id"),
        (("GET", "/none/definition", None), 404, "TEST_UNKNOWN", "test_id"),
        (("POST", "/none/pause", {}), 404, "TEST_UNKNOWN", "test_id"),
        (("GET", "/history?statuses=gone", None), 400, "VALUE_UNKNOWN", "statuses[0]"),
        (("POST", "/holdouts/none/end", {}), 404, "HOLDOUT_UNKNOWN", "holdout_id"),
    ],
)
def test_errors_have_their_shape(
    client: RestClient, asked: tuple[str, str, dict[str, Any] | None], status: int, reason: str, field: str
) -> None:
    found, answer = client.ask(*asked)
    assert found == status, answer
    assert set(answer) == {"code", "message", "details"}
    assert {detail["reason"] for detail in answer["details"] if "reason" in detail} == {reason}
    violations = [each for detail in answer["details"] for each in detail.get("field_violations", ())]
    assert field in {violation["field"] for violation in violations}


def test_an_illegal_step_is_refused_with_its_status(client: RestClient) -> None:
    test = create(client)
    status, answer = client.ask("POST", f"/{test}/resume", {})
    assert status == 400
    info = next(detail for detail in answer["details"] if "reason" in detail)
    assert info["reason"] == "TEST_STATUS_CONFLICT"
    assert info["metadata"] == {"test_id": test, "status": "running"}
