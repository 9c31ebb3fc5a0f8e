"""SimulateTest over the wire and from a shell."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from gen.campaigns.abtest.v1 import simulation_pb2 as pb
from gen.campaigns.abtest.v1.abtest_service_pb2_grpc import ABTestServiceStub
from services.abtest.commands import COMMANDS
from services.abtest.convert.simulation import simulation_from_proto
from services.abtest.domain.simulation import SimulationDesign, simulate
from services.abtest.domain.simulation_summary import SimulationSummary, summarize
from services.abtest.operations.simulation import SimulationOperations, require_bounded
from services.abtest.settings import AbtestSettings
from services.abtest.simulating.codec import design_to_json
from services.abtest.simulating_process import SimulatingProcess
from services.common.child_work import FOLLOW_PARENT
from services.common.cli import run_service_command
from services.common.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from tests.abtest_factories import refusal
from tests.simulation_factories import a_design

ROOT = Path(__file__).resolve().parents[3]


def a_simulation(**fields: Any) -> pb.SimulateTestRequest:  # noqa: ANN401 (a request's fields)
    values: dict[str, Any] = {
        "baseline_conversion_rate": 0.1,
        "relative_lifts": [0.2],
        "target_sample_size": 4000,
        "simulations": 300,
        "looks": 7,
    }
    return pb.SimulateTestRequest(**(values | fields))


async def test_a_design_is_tried_without_an_effect_and_with_one(abtest: ABTestServiceStub) -> None:
    answer = await abtest.SimulateTest(a_simulation(users_per_day=400.0))
    without, effect = answer.without_effect, answer.with_effect
    assert without.winner_named.share < 0.05
    assert not without.HasField("best_named")
    assert effect.best_named.share > 0.4
    assert effect.best_named.interval.lower < effect.best_named.share < effect.best_named.interval.upper
    assert effect.users.expected < without.users.expected
    assert effect.days.expected == pytest.approx(effect.users.expected / 400.0)
    assert [look.look_number for look in effect.by_look] == [1, 2, 3, 4, 5, 6, 7]
    assert effect.by_look[-1].over_share == 1.0
    assert (answer.simulations, answer.seed, answer.looks) == (300, 1, 7)
    assert (answer.decision_method, answer.confidence_level) == ("anytime", 0.95)
    assert "multinomial assignment" in answer.method


async def test_the_same_design_and_seed_give_the_same_answer(abtest: ABTestServiceStub) -> None:
    first, again, other = [await abtest.SimulateTest(a_simulation(seed=seed)) for seed in (5, 5, 6)]
    assert first == again
    assert first.with_effect != other.with_effect


async def test_unset_fields_have_their_defaults(abtest: ABTestServiceStub) -> None:
    request = pb.SimulateTestRequest(
        baseline_conversion_rate=0.2,
        minimum_detectable_effect=0.5,
        target_sample_size=300,
        decision_method="fixed_horizon",
    )
    answer = await abtest.SimulateTest(request)
    assert (answer.simulations, answer.looks) == (2000, 28)
    assert answer.with_effect.best_named.share > 0.6
    assert not answer.with_effect.HasField("days")


async def test_a_test_may_decide_by_revenue(abtest: ABTestServiceStub) -> None:
    """Revenue adds its own spread to that of conversion, so that the same effect is found less often."""
    by_conversion = await abtest.SimulateTest(a_simulation(decision_method="fixed_horizon"))
    by_revenue = await abtest.SimulateTest(
        a_simulation(decision_method="fixed_horizon", revenue_per_conversion=20.0)
    )
    assert "gamma revenue" in by_revenue.method
    assert by_revenue.with_effect.best_named.share < by_conversion.with_effect.best_named.share - 0.1
    assert by_revenue.without_effect.winner_named.share < 0.1


async def test_an_a_a_design_has_no_tests_with_an_effect(abtest: ABTestServiceStub) -> None:
    answer = await abtest.SimulateTest(a_simulation(relative_lifts=[0.0]))
    assert not answer.HasField("with_effect")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"baseline_conversion_rate": None}, "baseline_conversion_rate"),
        ({"baseline_conversion_rate": 1.0}, "baseline_conversion_rate"),
        ({"baseline_conversion_rate": float("nan")}, "baseline_conversion_rate"),
        ({"relative_lifts": []}, "relative_lifts"),
        ({"relative_lifts": [0.1] * 10}, "relative_lifts"),
        ({"relative_lifts": [9.5]}, "relative_lifts[0]"),
        ({"relative_lifts": [0.1, float("nan")]}, "relative_lifts[1]"),
        ({"minimum_detectable_effect": 0.0}, "minimum_detectable_effect"),
        ({"target_sample_size": 1}, "target_sample_size"),
        ({"confidence_level": 0.5}, "confidence_level"),
        ({"decision_method": "peeking"}, "decision_method"),
        ({"planned_looks": 5}, "planned_looks"),
        ({"decision_method": "group_sequential", "planned_looks": 101}, "planned_looks"),
        ({"traffic_weights": [0.5, 0.6]}, "traffic_weights"),
        ({"traffic_weights": [0.5, 0.3, 0.2]}, "traffic_weights"),
        ({"looks": 0}, "looks"),
        ({"looks": 401}, "looks"),
        ({"simulations": 99}, "simulations"),
        ({"simulations": 20_001}, "simulations"),
        ({"seed": -1}, "seed"),
        ({"users_per_day": 0.0}, "users_per_day"),
        ({"users_per_day": float("inf")}, "users_per_day"),
        ({"revenue_standard_deviation": 1.0}, "revenue_standard_deviation"),
        ({"revenue_per_conversion": 0.0}, "revenue_per_conversion"),
        ({"revenue_per_conversion": float("nan")}, "revenue_per_conversion"),
        ({"revenue_per_conversion": 9.0, "revenue_standard_deviation": -1.0}, "revenue_standard_deviation"),
        ({"revenue_per_conversion": 9.0, "revenue_standard_deviation": 1e4}, "revenue_standard_deviation"),
    ],
)
def test_what_is_wrong_is_named_by_field(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        simulation_from_proto(a_simulation(**fields))
    assert wrong in {violation.field for violation in caught.value.violations}


async def test_several_wrong_fields_are_named_at_once(abtest: ABTestServiceStub) -> None:
    code, _, violations = await refusal(abtest.SimulateTest(a_simulation(looks=0, simulations=1)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(violations) == {"looks", "simulations"}


@pytest.mark.parametrize(
    "fields",
    [
        {"simulations": 20_000, "looks": 400, "relative_lifts": [0.1] * 9},
        {"simulations": 20_000, "decision_method": "group_sequential", "planned_looks": 10},
        {"simulations": 20_000, "revenue_per_conversion": 20.0, "target_sample_size": 10**6},
    ],
)
def test_a_design_too_large_to_simulate_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ResourceExhaustedError) as caught:
        require_bounded(simulation_from_proto(a_simulation(**fields)))
    assert caught.value.reason == "SIMULATION_TOO_LARGE"


async def test_a_process_of_its_own_says_what_this_one_would() -> None:
    design = a_design(lifts=(0.3, 0.0), simulations=100, looks=3)
    assert await SimulatingProcess(timeout_seconds=600).run(design) == summarize(simulate(design))


async def test_a_simulation_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(DeadlineExceededError, match=r"took longer than 0\.001 seconds"):
        await SimulatingProcess(timeout_seconds=0.001).run(a_design())


async def test_a_simulation_that_breaks_off_says_nothing_of_the_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.abtest.simulating_process.design_to_json", lambda _design: b"nonsense")
    with pytest.raises(InternalError, match=r"^the simulation broke off$"):
        await SimulatingProcess(timeout_seconds=600).run(a_design())


def test_the_process_ends_with_whoever_started_it() -> None:
    program = [sys.executable, "-m", "services.abtest.simulating"]
    design = a_design(simulations=20_000, looks=28, target=200_000)
    environment = os.environ | {FOLLOW_PARENT: "1"}
    with subprocess.Popen(
        program,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(design_to_json(design) + b"\n")
        process.stdin.close()
        assert process.wait(timeout=300) == 4


async def test_one_runs_at_a_time_and_only_so_many_wait() -> None:
    running, proceed = 0, asyncio.Event()
    most = 0

    async def run(design: SimulationDesign) -> SimulationSummary:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await proceed.wait()
        running -= 1
        return summary

    design = a_design(simulations=100, looks=1)
    summary = summarize(simulate(design))
    operations = SimulationOperations(run, at_once=1, waiting=1)
    inside = [asyncio.create_task(operations.simulate(design)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError, match="too many simulations wait"):
        await operations.simulate(design)
    proceed.set()
    assert await asyncio.gather(*inside) == [summary, summary]
    assert most == 1
    assert await operations.simulate(design) == summary


DESIGN = ("--baseline-conversion-rate", "0.1", "--relative-lifts", "0.2", "--target-sample-size", "1000")


def test_the_command_simulates_without_a_database() -> None:
    program = [sys.executable, "-m", "services.abtest", "simulate", *DESIGN, "--simulations", "200"]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "200 tests of each kind by anytime, 28 looks each" in ran.stdout


def command(*arguments: str) -> int:
    async def serve(_settings: AbtestSettings) -> None:
        raise AssertionError("nobody asked to serve")

    return run_service_command(
        "abtest",
        AbtestSettings,
        serve,
        migrates=True,
        commands=COMMANDS,
        arguments=["simulate", *DESIGN, *arguments],
    )


def test_the_command_prints_a_table_with_every_share_and_duration(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--simulations", "200", "--users-per-day", "100") == 0
    table = capsys.readouterr().out
    assert "95 % confidence, seed 1" in table
    assert "with true rates of 10 %, 12 %:" in table
    assert table.count("a winner is named") == 2
    assert table.count("the best group is named") == 1
    assert table.count("days  ") == 2
    assert "warning: the best group is found in only" in table


def test_the_command_prints_the_answer_of_the_rpc_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--simulations", "200", "--decision-method", "fixed_horizon", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["decision_method"] == "fixed_horizon"
    assert answer["without_effect"]["invalid"]["count"] == 0
    assert answer["with_effect"]["best_named"]["share"] > 0.1


def test_the_command_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--simulations", "5") == 1
    assert capsys.readouterr().err == "abtest: simulations: must lie between 100 and 20000\n"


def test_the_command_shows_an_a_a_design_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--simulations", "100", "--relative-lifts", "0") == 0
    assert "with true rates" not in capsys.readouterr().out
