"""A forest grown by a Dask cluster, a real scheduler and a real worker process: the trees of this machine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster, SchedulerPlugin

from services.common.errors import UnavailableError
from services.optimizer.training import backend
from services.optimizer.training.backend import Backend
from services.optimizer.training.forest import TREES, fit_forest

STEPS = 10
start_cluster: Any = LocalCluster  # it has no types


@pytest.fixture
def patient_with_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_CONNECT_SECONDS", 60.0)
    monkeypatch.setattr(backend, "_WORKER_SECONDS", 60.0)


class Counting(SchedulerPlugin):
    """Notes the tasks that workers finish; joblib makes one of several trees."""

    def __init__(self) -> None:
        self.done: set[str] = set()

    def transition(self, key: object, start: object, finish: object, *args: object, **kwargs: object) -> None:
        if (start, finish) == ("processing", "memory"):
            self.done.add(str(key))


@pytest.mark.usefixtures("patient_with_dask")
def test_a_cluster_grows_the_same_trees() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2000, 7)).astype(np.float32)
    rates, views = rng.random(2000), rng.uniform(1.0, 90.0, 2000)
    heard: list[float] = []
    here = fit_forest(features, rates, views, on_progress=lambda _: None, max_samples=400)
    with (
        start_cluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Backend.open(cluster.scheduler_address) as cluster_backend,
    ):
        counting = Counting()
        cluster.scheduler.add_plugin(counting)
        there = fit_forest(
            features, rates, views, on_progress=heard.append, max_samples=400, backend=cluster_backend
        )
    assert len(there.estimators_) == TREES
    assert heard == pytest.approx(np.linspace(0.1, 1.0, 10))
    assert len(counting.done) >= STEPS
    for tree, same in zip(here.estimators_, there.estimators_, strict=True):
        np.testing.assert_array_equal(tree.tree_.threshold, same.tree_.threshold)
        np.testing.assert_array_equal(tree.tree_.value, same.tree_.value)


def test_a_scheduler_that_does_not_answer_is_told_in_words(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(UnavailableError, match="Dask scheduler does not answer") as refused,
        Backend.open(f"tcp://127.0.0.1:{free_port()}"),
    ):
        pytest.fail("nobody is there")
    assert refused.value.reason == "PEER_UNAVAILABLE"


@pytest.mark.usefixtures("patient_with_dask")
def test_a_scheduler_without_workers_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_WORKER_SECONDS", 0.5)
    with (
        start_cluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(UnavailableError, match="Dask scheduler has no worker"),
        Backend.open(cluster.scheduler_address),
    ):
        pytest.fail("there is no worker")
