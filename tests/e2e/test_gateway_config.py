"""The rendered configuration is one that Envoy takes, and says what it should to whoever reads it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.envoy.bootstrap import envoy_binary, render_bootstrap
from deploy.envoy.contract import load_rpcs
from deploy.envoy.routes import CLUSTERS, LONG_TIMEOUTS, path_regex
from services.optimizer.settings import OptimizerSettings
from tests.e2e.gateway_stand import DESCRIPTORS
from tests.ports import free_port


def render(*, gateway_port: int = 1, admin_port: int = 2) -> str:
    return render_bootstrap(
        gateway_port=gateway_port,
        admin_port=admin_port,
        analytics_port=3,
        abtest_port=4,
        optimizer_port=5,
        model_server_port=6,
        descriptor_path=DESCRIPTORS,
    )


def listener(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["static_resources"]["listeners"][0]
    return found


def routes(text: str) -> dict[str, dict[str, Any]]:
    manager = listener(text)["filter_chains"][0]["filters"][0]["typed_config"]
    return {route["name"]: route for route in manager["route_config"]["virtual_hosts"][0]["routes"]}


def test_envoy_takes_it(tmp_path: Path) -> None:
    configuration = tmp_path / "envoy.yaml"
    configuration.write_text(render(gateway_port=free_port(), admin_port=free_port()))

    done = subprocess.run(
        [envoy_binary(), "--mode", "validate", "--config-path", configuration, "--disable-hot-restart"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


def test_ports_are_where_they_belong() -> None:
    text = render()
    resources = yaml.safe_load(text)["static_resources"]
    endpoints = {
        cluster["name"]: cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        for cluster in resources["clusters"]
    }

    assert listener(text)["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    assert yaml.safe_load(text)["admin"]["address"]["socket_address"]["port_value"] == 2
    assert {name: address["socket_address"]["port_value"] for name, address in endpoints.items()} == {
        "analytics": 3,
        "abtest": 4,
        "optimizer": 5,
        "model_server": 6,
    }


def test_a_busy_service_has_time_to_say_that_it_serves() -> None:
    """Of a service there is one process: whoever is taken for dead is replaced by nobody."""
    checks = [
        cluster["health_checks"][0] for cluster in yaml.safe_load(render())["static_resources"]["clusters"]
    ]
    assert {(check["timeout"], check["unhealthy_threshold"]) for check in checks} == {("5s", 2)}


def test_a_taken_port_is_never_shared() -> None:
    assert listener(render())["enable_reuse_port"] is False


def test_every_rpc_has_a_route_to_its_service() -> None:
    table = routes(render())

    for rpc in load_rpcs(DESCRIPTORS):
        package = next(prefix for prefix in CLUSTERS if rpc.service.startswith(prefix))
        assert table[rpc.path]["route"]["cluster"] == CLUSTERS[package]


def test_only_reads_are_tried_again() -> None:
    table = routes(render())

    for rpc in load_rpcs(DESCRIPTORS):
        assert ("retry_policy" in table[rpc.path]["route"]) == rpc.only_reads


def test_streams_have_no_time_limit_and_calls_have_one() -> None:
    table = routes(render())

    for rpc in load_rpcs(DESCRIPTORS):
        expected = "0s" if rpc.streams else LONG_TIMEOUTS.get(rpc.path, "15s")
        assert table[rpc.path]["route"]["timeout"] == expected


def test_long_timeouts_are_those_of_rpcs_that_exist() -> None:
    assert set(LONG_TIMEOUTS) <= {rpc.path for rpc in load_rpcs(DESCRIPTORS)}


def test_the_gateway_waits_for_a_model_as_long_as_the_optimizer_does() -> None:
    """A publication that fails loads twice: the version, then what was served before."""
    fields = OptimizerSettings.model_fields
    loads = 2 * fields["load_timeout_seconds"].default
    training = fields["training_timeout_seconds"].default
    limits = {path.rpartition("/")[2]: float(limit.rstrip("s")) for path, limit in LONG_TIMEOUTS.items()}
    assert limits["RollbackModel"] >= loads
    assert limits["TrainModel"] >= training + loads


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("/api/catalog/users", r"/api/catalog/users/*"),
        ("/api/ab-tests/{test_id}/user-group/{user_id}", r"/api/ab\-tests/[^/]*/user\-group/[^/]*/*"),
    ],
)
def test_path_templates_become_regular_expressions(template: str, expected: str) -> None:
    assert path_regex(template) == expected


def test_envoy_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENVOY_BIN", str(tmp_path / "envoy"))

    assert envoy_binary() == tmp_path / "envoy"


def test_without_any_envoy_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENVOY_BIN", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("deploy.envoy.bootstrap.find_spec", lambda _: None)

    with pytest.raises(FileNotFoundError, match="ENVOY_BIN"):
        envoy_binary()
