"""The optimizer over REST: the real gateway before the real service and model server."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from deploy.envoy.bootstrap import envoy_binary, render_bootstrap
from deploy.local.bootstrap import DatabaseAddresses
from services.common.wire import datetime_to_timestamp
from tests.contract.optimizer.harness import NOON, insert_world
from tests.unit.optimizer.synthetic import build_world

REPOSITORY = Path(__file__).resolve().parents[2]
DESCRIPTOR = REPOSITORY / "gen" / "descriptors" / "api.binpb"
START_SECONDS = 60.0
Answer = tuple[int, dict[str, Any]]


class Client:
    """Speaks JSON with the gateway."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self,
        verb: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=180)
        try:
            content = None if body is None else json.dumps(body).encode()
            asked = f"/api/optimize{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
            connection.request(verb, asked, content, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Return the answer of a GET that must succeed."""
        status, answer = self.ask("GET", path, query=query)
        assert status == http.client.OK, f"{path}: {status} {answer}"
        return answer

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/jobs")[0] == http.client.OK
        except (OSError, http.client.HTTPException, ValueError):
            return False


@pytest.fixture(scope="module")
def client(
    module_database: DatabaseAddresses, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Client]:
    """A client of a gateway with the optimizer and the model server behind it; a model is live."""
    world = build_world()
    asyncio.run(insert_world(module_database.admin, world.rows, catalog_offers=world.last_offers))
    folder = tmp_path_factory.mktemp("optimizer_gateway")
    ports = {name: free_port() for name in ("gateway", "optimizer", "model_server")}
    configuration = folder / "envoy.yaml"
    configuration.write_text(
        render_bootstrap(
            gateway_port=ports["gateway"],
            admin_port=free_port(),
            analytics_port=free_port(),
            abtest_port=free_port(),
            optimizer_port=ports["optimizer"],
            model_server_port=ports["model_server"],
            descriptor_path=DESCRIPTOR,
        )
    )
    environment = {
        **os.environ,
        "OPTIMIZER_DATABASE_URL": module_database.optimizer,
        "OPTIMIZER_PORT": str(ports["optimizer"]),
        "OPTIMIZER_METRICS_PORT": str(free_port()),
        "OPTIMIZER_DRAIN_SECONDS": "0",
        "OPTIMIZER_JOBS_ENABLED": "false",
        "OPTIMIZER_MODEL_SERVER_ADDRESS": f"127.0.0.1:{ports['model_server']}",
        "MODEL_SERVER_PORT": str(ports["model_server"]),
        "MODEL_SERVER_METRICS_PORT": str(free_port()),
        "MODEL_SERVER_DRAIN_SECONDS": "0",
        "MODEL_REPOSITORY": str(folder / "models"),
    }
    (folder / "models").mkdir()
    commands = {
        "model_server": [sys.executable, "-m", "services.model_server"],
        "optimizer": [sys.executable, "-m", "services.optimizer"],
        "envoy": [str(envoy_binary()), "--config-path", str(configuration), "--disable-hot-restart"],
    }
    client = Client(ports["gateway"])
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
                )
        wait_for(client.answers, lambda: "\n".join(log.read_text()[-3000:] for log in folder.glob("*.log")))
        yield client
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def wait_for(condition: Callable[[], bool], describe: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def trained(client: Client) -> dict[str, Any]:
    """What a training through the gateway answered, asked as of the end of the world."""
    as_of = datetime_to_timestamp(NOON).ToJsonString()
    status, answer = client.ask("POST", "/train-model", {"as_of": as_of})
    assert status == http.client.OK, answer
    return answer


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
