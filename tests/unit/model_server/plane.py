"""A data plane over one model, and requests to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import DomainError
from services.model_server.data_plane import DataPlane, InferenceAnswer, InferenceRequest
from services.model_server.layout import Layout
from services.model_server.loading import Loader
from services.model_server.repository import Repository
from services.model_server.runner import Runner
from services.model_server.tensors import DATATYPES, Array, InputTensor
from tests.unit.model_server import models

SHORT_MILLISECONDS = 60_000.0
"""What a measured cost never comes to, whatever interrupts the measured: what is known is short."""


class Plane:
    """A data plane over one model, and what a test asks of it."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.runner = Runner(workers=1, inline_milliseconds=SHORT_MILLISECONDS, max_waiting=1)
        self.plane = DataPlane(repository, self.runner, max_batch_size=100)

    async def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> InferenceAnswer:
        tensors = [input_tensor(name, array) for name, array in inputs.items()]
        request = InferenceRequest(model="m", version="", inputs=tensors, outputs=outputs, received_ns=0)
        return await self.plane.infer(request)

    async def refusal(self, inputs: Mapping[str, Array]) -> DomainError:
        with pytest.raises(DomainError) as refusal:
            await self.infer(inputs)
        return refusal.value


def input_tensor(name: str, array: Array) -> InputTensor:
    datatypes = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}
    return InputTensor(
        name=name,
        datatype=DATATYPES[datatypes[array.dtype.name]],
        shape=array.shape,
        decode=lambda: array,
    )


async def open_plane(root: Path, content: bytes, config: str = "") -> Plane:
    models.write_version(root, "m", 1, content)
    models.write_config(root, "m", config)
    layout = Layout(root=root)
    repository = Repository(layout, Loader(layout, threads=1))
    await repository.load("m")
    return Plane(repository)


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)
