"""A model's config.pbtxt: parsed as the protocol's ModelConfig, completed from the model, checked against it.

What the protocol's config can say and this server does not do is refused by name, never passed over, unless
it is a hint that changes no answer (`instance_group` counts, `optimization`, how long batches are gathered).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from google.protobuf import text_format

from gen.inference import grpc_service_pb2 as pb
from services.common.errors import FailedPreconditionError
from services.model_server.tensors import TensorSpec

BACKEND = "onnxruntime"
PLATFORM = "onnxruntime_onnx"
DEFAULT_MODEL_FILENAME = "model.onnx"
_THREADS_PARAMETER = "intra_op_thread_count"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What requests to a model are checked against.

    `max_batch_size` is 0 for a model whose config knows no batch; otherwise the first dimension of every
    input and output is the batch, already part of the shapes here (as -1). Where `batches_requests`, the rows
    of several requests may be computed together.
    """

    name: str
    max_batch_size: int
    batches_requests: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @cached_property
    def inputs_by_name(self) -> Mapping[str, TensorSpec]:
        """The inputs, each under its name."""
        return {tensor.name: tensor for tensor in self.inputs}


def parse_config(text: str, name: str) -> pb.ModelConfig:
    """Return the config in `text` (empty: everything is left to the model), for the model in folder `name`.

    Raises:
        FailedPreconditionError: it does not parse (the message has line and column), or asks for what this
            server does not do.
    """
    config = pb.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise _refused(f"does not parse: {error}") from error
    if config.name not in ("", name):
        raise _refused(f"names model {config.name!r}, but its folder is {name!r}")
    config.name = name
    _refuse_what_is_not_served(config)
    config.backend = BACKEND
    config.platform = PLATFORM
    config.default_model_filename = config.default_model_filename or DEFAULT_MODEL_FILENAME
    if not config.HasField("version_policy"):
        config.version_policy.latest.num_versions = 1
    return config


def missing_versions(config: pb.ModelConfig, present: Sequence[int]) -> list[int]:
    """Return the versions that the policy names and that are not present, newest first."""
    return sorted(set(config.version_policy.specific.versions) - set(present), reverse=True)


def choose_versions(config: pb.ModelConfig, present: Sequence[int], *, stand_in: bool = False) -> list[int]:
    """Return which of the versions present (newest first) the policy wants, newest first.

    Raises:
        FailedPreconditionError: none is present, or one that the policy names is not; with `stand_in`, none
            that it names.
    """
    policy = config.version_policy
    if policy.HasField("specific"):
        named = sorted(set(policy.specific.versions), reverse=True)
        missing = missing_versions(config, present)
        found = [version for version in named if version not in missing]
        if not found or (missing and not stand_in):
            raise FailedPreconditionError(
                f"version_policy names versions {named}, of which {missing} are not in the repository",
                reason="MODEL_VERSION_MISSING",
            )
        return found
    if not present:
        raise FailedPreconditionError("the repository has no version of it", reason="MODEL_VERSION_MISSING")
    if policy.HasField("latest"):
        return list(present[: policy.latest.num_versions or 1])
    return list(present)


def threads_of(config: pb.ModelConfig, *, most: int) -> int:
    """Return the threads of one inference: what the config asks for, `most` at most and by default.

    Raises:
        FailedPreconditionError: the config asks for something that is no number of threads.
    """
    text = (
        config.parameters[_THREADS_PARAMETER].string_value if _THREADS_PARAMETER in config.parameters else ""
    )
    if not text:
        return most
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _refused(f"parameter {_THREADS_PARAMETER} is {text!r}, not a positive number")
    return min(int(text), most)


def complete_config(
    config: pb.ModelConfig, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> pb.ModelConfig:
    """Return `config` with the inputs and outputs of the model where it names none."""
    complete = pb.ModelConfig()
    complete.CopyFrom(config)
    first = 1 if config.max_batch_size > 0 else 0
    for tensor in inputs if not config.input else ():
        complete.input.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape[first:])
    for tensor in outputs if not config.output else ():
        complete.output.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape[first:])
    return complete


def agree(
    config: pb.ModelConfig, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> ModelSpec:
    """Return what requests are checked against: the narrower of the complete config and the model.

    Raises:
        FailedPreconditionError: the two do not agree.
    """
    batched = config.max_batch_size > 0
    spec = ModelSpec(
        name=config.name,
        max_batch_size=config.max_batch_size,
        batches_requests=batched and config.HasField("dynamic_batching"),
        inputs=_agree("input", config.input, inputs, batched=batched),
        outputs=_agree("output", config.output, outputs, batched=batched),
    )
    if missing := {tensor.name for tensor in inputs} - {tensor.name for tensor in spec.inputs}:
        raise _refused(f"leaves out inputs that the model needs: {', '.join(sorted(missing))}")
    return spec


def _refuse_what_is_not_served(config: pb.ModelConfig) -> None:
    if config.backend not in ("", BACKEND):
        raise _refused(f"asks for backend {config.backend!r}; this server has {BACKEND!r}")
    if config.platform not in ("", PLATFORM):
        raise _refused(f"asks for platform {config.platform!r}; this server has {PLATFORM!r}")
    if config.max_batch_size < 0:
        raise _refused(f"has max_batch_size {config.max_batch_size}; it must be 0 (no batch) or more")
    filename = config.default_model_filename
    if "/" in filename or filename in {".", ".."}:
        raise _refused("has a default_model_filename that is no plain file name")
    if any(tensor.HasField("reshape") for tensor in (*config.input, *config.output)):
        raise _refused("asks for reshape, which this server does not do")
    for group in config.instance_group:
        if group.kind == pb.ModelInstanceGroup.KIND_GPU:
            raise _refused("asks for instances on a GPU; this server computes on the CPU")


def _agree(
    kind: str,
    configured: Iterable[pb.ModelInput | pb.ModelOutput],
    actual: Sequence[TensorSpec],
    *,
    batched: bool,
) -> tuple[TensorSpec, ...]:
    by_name = {tensor.name: tensor for tensor in actual}
    agreed = {}
    for tensor in configured:
        if tensor.name not in by_name:
            raise _refused(f"has {kind} {tensor.name!r}, which the model has not")
        if tensor.name in agreed:
            raise _refused(f"has {kind} {tensor.name!r} twice")
        agreed[tensor.name] = _agree_tensor(kind, tensor, by_name[tensor.name], batched=batched)
    return tuple(agreed.values())


def _agree_tensor(
    kind: str, configured: pb.ModelInput | pb.ModelOutput, actual: TensorSpec, *, batched: bool
) -> TensorSpec:
    name, type_name = configured.name, pb.DataType.Name(configured.data_type)
    if type_name != actual.datatype.config_name:
        raise _refused(
            f"has {kind} {name!r} as {type_name}; in the model it is {actual.datatype.config_name}"
        )
    shape = ((-1,) if batched else ()) + tuple(configured.dims)
    if batched and actual.shape[:1] != (-1,):
        raise _refused(f"has max_batch_size, but {kind} {name!r} has no batch in the model")
    together = len(shape) == len(actual.shape) and all(
        own == other or -1 in (own, other) for own, other in zip(shape, actual.shape, strict=True)
    )
    if not together or any(size < 1 and size != -1 for size in shape):
        raise _refused(
            f"has {kind} {name!r} of shape {list(shape)}; in the model it is {list(actual.shape)} "
            "(the batch first, -1: any size)"
        )
    narrower = tuple(max(own, other) for own, other in zip(shape, actual.shape, strict=True))
    return TensorSpec(name=name, datatype=actual.datatype, shape=narrower)


def _data_type(tensor: TensorSpec) -> pb.DataType.ValueType:
    return pb.DataType.Value(tensor.datatype.config_name)


def _refused(what: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"config.pbtxt {what}", reason="MODEL_CONFIG_INVALID")
