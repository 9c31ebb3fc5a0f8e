"""Turning a model's folder into something that answers: config read, sessions opened, checked and warmed up.

Blocking; the repository calls it in a thread. Nothing here touches what is being served.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gen.inference import grpc_service_pb2 as pb
from services.common.errors import DomainError, FailedPreconditionError
from services.common.telemetry import get_logger
from services.model_server.config import (
    ModelSpec,
    agree,
    choose_versions,
    complete_config,
    missing_versions,
    parse_config,
    threads_of,
)
from services.model_server.layout import Layout, Signature
from services.model_server.runner import CostBook
from services.model_server.session import Session
from services.model_server.statistics import VersionStatistics
from services.model_server.tensors import Array, Datatype, fits

_log = get_logger("loading")
_MAXIMUM_WARMUP_RUNS = 1000
_MAXIMUM_WARMUP_ELEMENTS = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedVersion:
    """One version, ready to answer; loaded again, it is another."""

    model: str
    version: str
    signature: Signature
    spec: ModelSpec
    session: Session
    statistics: VersionStatistics
    costs: CostBook = field(default_factory=CostBook)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model whose versions are ready to answer; `versions` is by name, the newest first.

    `own_config` is what the folder says, `config` the same completed from the model. `refusals` has the
    versions that the policy wants and that could not be loaded, each with the reason.
    """

    name: str
    own_config: pb.ModelConfig
    config: pb.ModelConfig
    versions: Mapping[str, LoadedVersion]
    refusals: Mapping[str, str]


class Loader:
    """Loads models from a repository folder.

    Args:
        layout: where the models are.
        threads: CPU threads of one inference, at most and by default.
    """

    def __init__(self, layout: Layout, *, threads: int) -> None:
        self._layout = layout
        self._threads = threads

    def load(self, name: str, served: LoadedModel | None, *, stand_in: bool) -> LoadedModel:
        """Return the model as its folder now wants it; versions of `served` with the same files are kept.

        Every version that the policy wants must load. Not so with `stand_in`: then one is enough, whether the
        others do not load or are gone, and under the policy `latest` an older version stands in for a newer
        one that does not load, so that a restart does not turn a refused version into an outage.

        Raises:
            FailedPreconditionError: nothing can be loaded, or not all that must; the message says why.
        """
        try:
            return self._load(name, served, stand_in=stand_in)
        except OSError as error:
            _log.error("model folder not readable", model=name, error=str(error))
            raise FailedPreconditionError(
                f"model {name!r}: its files cannot be read", reason="MODEL_FILES_UNREADABLE"
            ) from error
        except FailedPreconditionError as error:
            raise FailedPreconditionError(f"model {name!r}: {error.message}", reason=error.reason) from error

    def _load(self, name: str, served: LoadedModel | None, *, stand_in: bool) -> LoadedModel:
        config = parse_config(self._layout.read_config(name), name)
        present = self._layout.list_versions(name)
        wanted = choose_versions(config, present, stand_in=stand_in)
        kept = served.versions if served is not None and _serves_alike(config, served.own_config) else {}
        loaded: dict[str, LoadedVersion] = {}
        refusals = {str(version): _missing_version() for version in missing_versions(config, present)}
        for number in present if stand_in and config.version_policy.HasField("latest") else wanted:
            if len(loaded) == len(wanted):
                break
            try:
                loaded[str(number)] = self._load_version(name, number, config, kept.get(str(number)))
            except FailedPreconditionError as error:
                refusals[str(number)] = error
        if refusals and not (stand_in and loaded):
            version, refusal = next(iter(refusals.items()))
            raise FailedPreconditionError(f"version {version}: {refusal.message}", reason=refusal.reason)
        newest = next(iter(loaded.values())).session
        return LoadedModel(
            name=name,
            own_config=config,
            config=complete_config(config, inputs=newest.inputs, outputs=newest.outputs),
            versions=loaded,
            refusals={version: refusal.message for version, refusal in refusals.items()},
        )

    def _load_version(
        self, name: str, number: int, config: pb.ModelConfig, kept: LoadedVersion | None
    ) -> LoadedVersion:
        signature = self._layout.sign_version(name, number)
        if kept is not None and kept.signature == signature:
            return kept
        path = self._layout.version_folder(name, number) / config.default_model_filename
        session = Session(path, threads=threads_of(config, most=self._threads))
        complete = complete_config(config, inputs=session.inputs, outputs=session.outputs)
        version = LoadedVersion(
            model=name,
            version=str(number),
            signature=signature,
            spec=agree(complete, inputs=session.inputs, outputs=session.outputs),
            session=session,
            statistics=VersionStatistics(),
        )
        warm_up(version, config)
        _log.info("loaded", model=name, version=number)
        return version


def warm_up(version: LoadedVersion, config: pb.ModelConfig) -> None:
    """Run what the config's `model_warmup` asks for; without one, zeros where they must be an input.

    They must where the inputs are floats and of known shape, but for the batch: then one row is a batch.

    The last run's cost is remembered, so that the first request already runs in the right place.

    Raises:
        FailedPreconditionError: the model does not answer, or the config asks for what cannot be done.
    """
    for sample in config.model_warmup:
        _run_warmup(version, _sample_inputs(sample, version.spec), runs=max(1, sample.count))
    if not config.model_warmup and _takes_zeros(version.spec):
        zeros = {
            tensor.name: np.zeros([max(1, size) for size in tensor.shape], tensor.datatype.dtype)
            for tensor in version.spec.inputs
        }
        _run_warmup(version, zeros, runs=2)


def _missing_version() -> FailedPreconditionError:
    return FailedPreconditionError("it is not in the repository", reason="MODEL_VERSION_MISSING")


def _serves_alike(config: pb.ModelConfig, other: pb.ModelConfig) -> bool:
    """Tell whether a version loaded under one config is as good under the other."""
    ours, theirs = pb.ModelConfig(), pb.ModelConfig()
    ours.CopyFrom(config)
    theirs.CopyFrom(other)
    ours.ClearField("version_policy")
    theirs.ClearField("version_policy")
    return ours == theirs


def _takes_zeros(spec: ModelSpec) -> bool:
    first = 1 if spec.max_batch_size else 0
    return all(tensor.datatype.dtype.kind == "f" and -1 not in tensor.shape[first:] for tensor in spec.inputs)


def _run_warmup(version: LoadedVersion, inputs: Mapping[str, Array], *, runs: int) -> None:
    outputs = [tensor.name for tensor in version.spec.outputs]
    if runs > _MAXIMUM_WARMUP_RUNS:
        raise _refused_warmup(f"asks for {runs} runs; at most {_MAXIMUM_WARMUP_RUNS} are done")
    cost = 0
    try:
        for _ in range(runs):
            start = time.thread_time_ns()
            version.session.run(inputs, outputs)
            cost = time.thread_time_ns() - start
    except DomainError as error:
        raise FailedPreconditionError(
            "the model fails on its warm-up inputs", reason="MODEL_WARMUP_FAILED"
        ) from error
    version.costs.record(sum(array.size for array in inputs.values()), cost)


def _sample_inputs(sample: pb.ModelWarmup, spec: ModelSpec) -> dict[str, Array]:
    batch = (max(1, sample.batch_size),) if spec.max_batch_size else ()
    inputs = {}
    for tensor in spec.inputs:
        if tensor.name not in sample.inputs:
            raise _refused_warmup(f"leaves out input {tensor.name!r}")
        wanted = sample.inputs[tensor.name]
        shape = (*batch, *wanted.dims)
        if not fits(shape, tensor.shape) or min(shape, default=1) < 1:
            raise _refused_warmup(f"has input {tensor.name!r} of shape {list(shape)}")
        if math.prod(shape) > _MAXIMUM_WARMUP_ELEMENTS:
            raise _refused_warmup(
                f"has input {tensor.name!r} of more than {_MAXIMUM_WARMUP_ELEMENTS} elements"
            )
        if pb.DataType.Name(wanted.data_type) != tensor.datatype.config_name:
            raise _refused_warmup(f"has input {tensor.name!r} as {pb.DataType.Name(wanted.data_type)}")
        if wanted.WhichOneof("input_data_type") == "input_data_file":
            raise _refused_warmup("reads a file, which this server does not do")
        inputs[tensor.name] = _sample_array(tensor.datatype, shape, random=wanted.random_data)
    return inputs


def _sample_array(datatype: Datatype, shape: tuple[int, ...], *, random: bool) -> Array:
    if datatype.name == "BYTES":
        return np.full(shape, "", dtype=object)
    if not random:
        return np.zeros(shape, datatype.dtype)
    return np.random.default_rng(0).random(shape).astype(datatype.dtype)


def _refused_warmup(what: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"config.pbtxt: model_warmup {what}", reason="MODEL_CONFIG_INVALID")
