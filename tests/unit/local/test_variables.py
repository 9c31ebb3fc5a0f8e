import subprocess
from importlib import import_module

import pytest

from deploy.local import variables
from deploy.local.paths import REPOSITORY
from deploy.local.settings import RunSettings
from deploy.local.variables import known_variables
from services.common.settings import ServiceSettings, environment_name


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", "variables", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_every_declared_setting_is_known() -> None:
    known = set(known_variables())
    assert {name.upper() for name in RunSettings.model_fields} <= known
    for service in ("analytics", "abtest", "optimizer", "model_server"):
        module = import_module(f"services.{service}.settings")
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, ServiceSettings)
            and value.__module__ == module.__name__
        ]
        assert classes
        for settings in classes:
            names = {environment_name(settings, *item) for item in settings.model_fields.items()}
            assert names <= known
    assert "MODEL_SERVER_DATABASE_URL" not in known, "the model server has no database"


def test_a_mistyped_setting_is_refused_with_the_one_meant() -> None:
    result = make("GATEWAY_PROT=9000", "GATEWAY_PORT=9000")
    assert result.returncode != 0
    assert "GATEWAY_PROT is no setting: is GATEWAY_PORT meant?" in result.stderr
    assert "GATEWAY_PORT is no setting" not in result.stderr


@pytest.mark.parametrize("name", ["clean-data", "run", "psql", "rebuild"])
def test_the_targets_that_take_settings_look_at_them_first(name: str) -> None:
    result = subprocess.run(
        ["make", "-n", name, "DATA_DRI=/nowhere"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    lines = result.stdout.splitlines()
    assert next(line for line in lines if "deploy/local" in line).endswith("variables.py DATA_DRI")


def test_settings_and_what_programs_beneath_read_pass() -> None:
    given = (
        "DATA_DIR=/a b",
        "ANALYTICS_LOG_LEVEL=DEBUG",
        "MODEL_REPOSITORY=/m",
        "PIP_INDEX_URL=x",
        "ROLE=abtest",
    )
    result = make(*given)
    assert (result.returncode, result.stderr) == (0, "")


def test_nothing_near_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert variables.main(["COLOUR"]) == 2
    assert capsys.readouterr().err == "COLOUR is no setting: `make run-help` lists them\n"
