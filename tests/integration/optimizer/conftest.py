"""Limits of time that no test may run into."""

import pytest

from tests.contract.optimizer.harness import be_patient


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
