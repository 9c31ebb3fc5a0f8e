"""Between the protocol's messages and ours: tensors in either form, metadata, statistics, the index."""

import time
from collections.abc import Iterable, Mapping, Sequence

from gen.inference import grpc_service_pb2 as pb
from services.common.errors import InvalidArgumentError, invalid_field
from services.model_server.config import PLATFORM
from services.model_server.data_plane import InferenceAnswer, InferenceRequest
from services.model_server.loading import LoadedModel, LoadedVersion
from services.model_server.repository import IndexEntry
from services.model_server.settings import VERSION
from services.model_server.statistics import Duration, VersionStatistics
from services.model_server.tensors import (
    DATATYPES,
    Array,
    Datatype,
    InputTensor,
    Tensor,
    TensorSpec,
    check_shape,
    decode_raw,
    decode_values,
    encode_raw,
    encode_texts,
    find_datatype,
    shown,
)

SERVER_NAME = "model-server"
EXTENSIONS = ("model_repository", "model_configuration", "statistics")
MAXIMUM_INPUTS = 1024
_REQUEST_PARAMETERS_REFUSED = ("sequence_id", "sequence_start", "sequence_end")
_TENSOR_PARAMETERS_REFUSED = ("shared_memory_region", "classification")


def inference_from_proto(request: pb.ModelInferRequest) -> InferenceRequest:
    """Return the request with its tensors ready to decode, all raw or all typed.

    Parameters that would change the answer and are not offered here (sequences, shared memory,
    classification) are refused; others are hints, and ignored.
    """
    received_ns = time.perf_counter_ns()
    _refuse_parameters(request.parameters, _REQUEST_PARAMETERS_REFUSED)
    for index, output in enumerate(request.outputs):
        _refuse_parameters(output.parameters, _TENSOR_PARAMETERS_REFUSED, "outputs", index)
    return InferenceRequest(
        model=request.model_name,
        version=request.model_version,
        inputs=_inputs_from_proto(request),
        outputs=[output.name for output in request.outputs],
        received_ns=received_ns,
    )


def inference_to_proto(answer: InferenceAnswer, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """Return the answer to `request`: its id, and typed outputs exactly where it has typed inputs.

    A datatype without a typed form (FP16) makes all outputs raw, because they have to be all the same.
    """
    response = pb.ModelInferResponse(model_name=answer.model, model_version=answer.version, id=request.id)
    is_raw = bool(request.raw_input_contents) or not request.inputs
    typed = not is_raw and all(tensor.datatype.contents for tensor in answer.outputs)
    for tensor in answer.outputs:
        output = response.outputs.add(
            name=tensor.name, datatype=tensor.datatype.name, shape=tensor.array.shape
        )
        if typed:
            output.contents.CopyFrom(_contents_to_proto(tensor))
        else:
            response.raw_output_contents.append(encode_raw(tensor.array, tensor.datatype))
    return response


def server_metadata() -> pb.ServerMetadataResponse:
    """Return who answers, and which extensions of the protocol it speaks."""
    return pb.ServerMetadataResponse(name=SERVER_NAME, version=VERSION, extensions=EXTENSIONS)


def metadata_to_proto(model: LoadedModel, version: LoadedVersion) -> pb.ModelMetadataResponse:
    """Return the inputs and outputs of one version, and every version served."""
    return pb.ModelMetadataResponse(
        name=model.name,
        versions=list(model.versions),
        platform=PLATFORM,
        inputs=[_tensor_metadata(tensor) for tensor in version.spec.inputs],
        outputs=[_tensor_metadata(tensor) for tensor in version.spec.outputs],
    )


def statistics_to_proto(versions: Iterable[LoadedVersion]) -> pb.ModelStatisticsResponse:
    """Return the counts of each version since it was loaded; `compute_output` is not timed, and unset."""
    return pb.ModelStatisticsResponse(
        model_stats=[
            _version_statistics(version.model, version.version, version.statistics) for version in versions
        ]
    )


def index_to_proto(entries: Iterable[IndexEntry]) -> pb.RepositoryIndexResponse:
    """Return the index, line by line."""
    return pb.RepositoryIndexResponse(
        models=[
            pb.RepositoryIndexResponse.ModelIndex(
                name=entry.model, version=entry.version, state=entry.state, reason=entry.reason
            )
            for entry in entries
        ]
    )


def model_name_from_proto(
    request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest,
) -> str:
    """Return the model to load or unload; a config or files sent along are refused, not passed over."""
    repository_from_proto(request.repository_name)
    if not request.model_name:
        raise invalid_field("model_name", "is required", "MODEL_NAME_MISSING")
    for key in request.parameters:
        if key != "unload_dependents":
            raise invalid_field(
                "parameters", f"{shown(key)} is not offered; put it into the repository", "PARAMETER_REFUSED"
            )
    return request.model_name


def repository_from_proto(name: str) -> None:
    """Refuse any repository but the one there is, which has no name."""
    if name:
        raise invalid_field("repository_name", "must be empty: there is one repository", "REPOSITORY_UNKNOWN")


def _inputs_from_proto(request: pb.ModelInferRequest) -> list[InputTensor]:
    raw = request.raw_input_contents
    if len(request.inputs) > MAXIMUM_INPUTS:
        raise invalid_field("inputs", f"at most {MAXIMUM_INPUTS} are taken", "TOO_MANY_INPUTS")
    if raw and len(raw) != len(request.inputs):
        raise invalid_field(
            "raw_input_contents",
            f"has {len(raw)} entries for {len(request.inputs)} inputs; all inputs are raw or none",
            "RAW_CONTENTS_COUNT",
        )
    if raw:
        return [
            _raw_input_from_proto(tensor, content, index)
            for index, (tensor, content) in enumerate(zip(request.inputs, raw, strict=True))
        ]
    return [_typed_input_from_proto(tensor, index) for index, tensor in enumerate(request.inputs)]


def _raw_input_from_proto(
    tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes, index: int
) -> InputTensor:
    name, datatype, shape = _head_from_proto(tensor, index)
    if tensor.HasField("contents") and tensor.contents.ListFields():
        raise invalid_field(
            f"inputs[{index}].contents",
            f"input {shown(name)} has contents beside raw_input_contents",
            "CONTENTS_TWICE",
        )
    return InputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        decode=lambda: decode_raw(raw, datatype=datatype, shape=shape, tensor=name),
    )


def _typed_input_from_proto(tensor: pb.ModelInferRequest.InferInputTensor, index: int) -> InputTensor:
    name, datatype, shape = _head_from_proto(tensor, index)
    if [descriptor.name for descriptor, _ in tensor.contents.ListFields()] != [datatype.contents]:
        raise invalid_field(
            f"inputs[{index}].contents",
            f"input {shown(name)} of {datatype.name} must have "
            f"{datatype.contents or 'raw_input_contents'}, and nothing else",
            "CONTENTS_MISMATCH",
        )
    values = getattr(tensor.contents, datatype.contents)
    return InputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        decode=lambda: decode_values(values, datatype=datatype, shape=shape, tensor=name),
    )


def _head_from_proto(
    tensor: pb.ModelInferRequest.InferInputTensor, index: int
) -> tuple[str, Datatype, tuple[int, ...]]:
    """Return the name, datatype and shape of an input, each checked by itself."""
    _refuse_parameters(tensor.parameters, _TENSOR_PARAMETERS_REFUSED, "inputs", index)
    name = tensor.name
    return (
        name,
        find_datatype(tensor.datatype, tensor=name, index=index),
        check_shape(tensor.shape, tensor=name, index=index),
    )


def _contents_to_proto(tensor: Tensor) -> pb.InferTensorContents:
    contents = pb.InferTensorContents()
    getattr(contents, tensor.datatype.contents).extend(
        _values(tensor.array, tensor.datatype is DATATYPES["BYTES"])
    )
    return contents


def _values(array: Array, text: bool) -> Sequence[object]:
    return encode_texts(array) if text else array.reshape(-1).tolist()


def _refuse_parameters(
    parameters: Mapping[str, pb.InferParameter],
    refused: Sequence[str],
    of: str = "",
    index: int = 0,
) -> None:
    """Refuse what is not passed over among the parameters of a request, or of its `of[index]`."""
    if not parameters:
        return
    for key in refused:
        if key in parameters:
            place = f"{of}[{index}].parameters" if of else "parameters"
            raise InvalidArgumentError(f"{place}: {key} is not offered", reason="PARAMETER_REFUSED")


def _tensor_metadata(tensor: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype.name, shape=tensor.shape
    )


def _version_statistics(model: str, version: str, counts: VersionStatistics) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=model,
        version=version,
        last_inference=counts.last_inference_ms,
        inference_count=counts.inference_count,
        execution_count=counts.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(counts.success),
            fail=_duration(counts.fail),
            queue=_duration(counts.queue),
            compute_input=_duration(counts.compute_input),
            compute_infer=_duration(counts.compute_infer),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
            )
            for size, batch in sorted(counts.by_batch_size.items())
        ],
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
