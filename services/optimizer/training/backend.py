"""Where a forest's trees grow: on this machine's cores, or on the workers of a Dask cluster.

Both grow the same trees: every tree draws from a seed of its own, wherever it is grown. Where a cluster has a
single thread, joblib finds no use in it and grows them here.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Self

import joblib

from services.common.errors import UnavailableError
from services.optimizer.domain.features import Float32Array

_CONNECT_SECONDS: Final = 10.0
_WORKER_SECONDS: Final = 10.0
_PEER: Final = "Dask scheduler"


class Backend:
    """A joblib backend: local, or the Dask cluster that `client` is connected to."""

    def __init__(self, client: Any = None) -> None:  # noqa: ANN401 (no types)
        self._client = client

    @classmethod
    @contextmanager
    def open(cls, dask_scheduler: str) -> Iterator[Self]:
        """Connect to the scheduler at an address such as `tcp://127.0.0.1:8786`; empty: this machine.

        Raises:
            UnavailableError: the scheduler does not answer, or has no worker.
        """
        if not dask_scheduler:
            yield cls()
            return
        import distributed  # noqa: PLC0415 (seconds to import, and only clusters need it)

        connect: Any = distributed.Client  # no types
        try:
            client = connect(dask_scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except OSError as error:
            raise _unavailable("does not answer") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=_WORKER_SECONDS)
            except TimeoutError as error:
                raise _unavailable("has no worker") from error
            yield cls(client)

    def parallel(self, features: Float32Array) -> AbstractContextManager[Any]:
        """Return the block in which joblib works here; `features` go to each worker once, not once per call.

        Rates and weights are not sent ahead: scikit-learn reshapes them, and Dask knows data by its object.
        """
        if self._client is None:
            return nullcontext()
        context: AbstractContextManager[Any] = joblib.parallel_config(
            backend="dask", client=self._client, scatter=[features]
        )
        return context


LOCAL: Final = Backend()


def _unavailable(what: str) -> UnavailableError:
    return UnavailableError(
        f"the {_PEER} {what}; start it, or unset DASK_SCHEDULER to train on this machine",
        reason="PEER_UNAVAILABLE",
        metadata={"peer": _PEER},
    )
