"""The real gateway before the real optimizer and model server, and a caller of its REST paths."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.bootstrap import DatabaseAddresses
from tests.e2e.real_gateway import RestClient, running_gateway


class Client(RestClient):
    """Speaks JSON with the gateway; `models` is the model repository behind it."""

    def __init__(self, port: int, models: Path) -> None:
        super().__init__(port, prefix="/api/optimize", probe="/jobs")
        self.models = models


@contextmanager
def running_optimizer_gateway(
    database: DatabaseAddresses, folder: Path, free_port: Callable[[], int]
) -> Iterator[Client]:
    """Run gateway, optimizer and model server over a database; jobs do not run."""
    client = Client(free_port(), folder / "models")
    client.models.mkdir()
    services = {"model_server": free_port(), "optimizer": free_port()}
    environment = {
        "OPTIMIZER_DATABASE_URL": database.optimizer,
        "OPTIMIZER_JOBS_ENABLED": "false",
        "OPTIMIZER_INFERENCE_TIMEOUT_SECONDS": "60",
        "OPTIMIZER_LOAD_TIMEOUT_SECONDS": "600",
        "OPTIMIZER_MODEL_SERVER_ADDRESS": f"127.0.0.1:{services['model_server']}",
        "MODEL_REPOSITORY": str(client.models),
    }
    with running_gateway(client, folder, free_port, services=services, environment=environment):
        yield client
