"""Tensors as the protocol names them: datatypes, shapes, and what their bytes and values mean.

Nothing here knows a message, a model or a session. Row-major order throughout; BYTES elements are UTF-8 text,
because that is all ONNX Runtime's string tensors carry through Python. What is made for every request is a
named tuple here and in the data plane: a frozen dataclass takes several times as long to make.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidArgumentError, invalid_field

Array: TypeAlias = npt.NDArray[Any]

MAXIMUM_DIMENSIONS = 16
_LENGTH = struct.Struct("<I")
_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True)
class Datatype:
    """A datatype of the protocol and its other names.

    `contents` is the field of InferTensorContents that carries it, empty where only raw bytes can;
    `wire_dtype` is the little-endian layout of the raw form.
    """

    name: str
    config_name: str
    onnx_name: str
    contents: str
    dtype: np.dtype[Any]
    wire_dtype: np.dtype[Any]


def _datatype(name: str, onnx_name: str, contents: str, dtype: str) -> Datatype:
    config_name = "TYPE_STRING" if name == "BYTES" else f"TYPE_{name}"
    return Datatype(
        name=name,
        config_name=config_name,
        onnx_name=f"tensor({onnx_name})",
        contents=contents,
        dtype=np.dtype(dtype),
        wire_dtype=np.dtype(dtype).newbyteorder("<"),
    )


_ALL = (
    _datatype("BOOL", "bool", "bool_contents", "?"),
    _datatype("UINT8", "uint8", "uint_contents", "u1"),
    _datatype("UINT16", "uint16", "uint_contents", "u2"),
    _datatype("UINT32", "uint32", "uint_contents", "u4"),
    _datatype("UINT64", "uint64", "uint64_contents", "u8"),
    _datatype("INT8", "int8", "int_contents", "i1"),
    _datatype("INT16", "int16", "int_contents", "i2"),
    _datatype("INT32", "int32", "int_contents", "i4"),
    _datatype("INT64", "int64", "int64_contents", "i8"),
    _datatype("FP16", "float16", "", "f2"),
    _datatype("FP32", "float", "fp32_contents", "f4"),
    _datatype("FP64", "double", "fp64_contents", "f8"),
    _datatype("BYTES", "string", "bytes_contents", "O"),
)
DATATYPES = {datatype.name: datatype for datatype in _ALL}
BY_ONNX_NAME = {datatype.onnx_name: datatype for datatype in _ALL}


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What a model takes or gives under a name; `shape` has the batch first and -1 where any size fits."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class Tensor(NamedTuple):
    """A named tensor of an answer."""

    name: str
    datatype: Datatype
    array: Array


class InputTensor(NamedTuple):
    """A named tensor of a request, not decoded yet, so that one of the wrong kind costs nothing.

    `decode` returns the array, of `datatype` and `shape`, or raises InvalidArgumentError where the contents
    do not make one; for much text it takes long.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    decode: Callable[[], Array]


def shown(name: str) -> str:
    """Return a name from outside, quoted, at a length that fits an error message."""
    cut = name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"
    return repr(cut)


def find_datatype(name: str, *, tensor: str, index: int) -> Datatype:
    """Return the datatype `name` of input `tensor`, the request's `index`-th, or refuse it by its field."""
    datatype = DATATYPES.get(name)
    if datatype is None:
        raise invalid_field(
            f"inputs[{index}].datatype",
            f"input {shown(tensor)} has datatype {shown(name)}; known are {', '.join(DATATYPES)}",
            "DATATYPE_UNKNOWN",
        )
    return datatype


def check_shape(shape: Sequence[int], *, tensor: str, index: int) -> tuple[int, ...]:
    """Return a request's `shape`, whatever its size.

    Refused: a dimension below 1 (an empty tensor is a mistake of the caller's, and some ONNX kernels do not
    survive it) and more than `MAXIMUM_DIMENSIONS` dimensions.
    """
    sizes = tuple(shape)
    if len(sizes) > MAXIMUM_DIMENSIONS:
        raise invalid_field(
            f"inputs[{index}].shape",
            f"input {shown(tensor)} has {len(sizes)} dimensions; at most {MAXIMUM_DIMENSIONS} are taken",
            "SHAPE_INVALID",
        )
    if min(sizes, default=1) < 1:
        raise invalid_field(
            f"inputs[{index}].shape",
            f"input {shown(tensor)} has shape {list(sizes)}; each dimension must be at least 1",
            "SHAPE_INVALID",
        )
    return sizes


def decode_raw(raw: bytes, *, datatype: Datatype, shape: Sequence[int], tensor: str) -> Array:
    """Return the array of the raw form: little-endian elements, or for BYTES each with a 4-byte length."""
    count = math.prod(shape)
    if datatype.name == "BYTES":
        return _as_text(_split_raw(raw, count, tensor=tensor), shape, tensor=tensor)
    expected = count * datatype.dtype.itemsize
    if len(raw) != expected:
        raise _wrong_length(
            tensor,
            f"its raw contents have {len(raw)} bytes; "
            f"shape {list(shape)} of {datatype.name} needs {expected}",
        )
    if datatype.name == "BOOL":  # any byte but 0 is true; a foreign byte inside a bool array is not defined
        return np.frombuffer(raw, dtype=np.uint8).reshape(shape).astype(np.bool_)
    array = np.frombuffer(raw, dtype=datatype.wire_dtype).reshape(shape)
    return array.astype(datatype.dtype, copy=False)


def decode_values(values: Sequence[Any], *, datatype: Datatype, shape: Sequence[int], tensor: str) -> Array:
    """Return the array of the typed form: one value per element."""
    count = math.prod(shape)
    if len(values) != count:
        raise _wrong_length(
            tensor, f"its contents have {len(values)} elements; shape {list(shape)} needs {count}"
        )
    if datatype.name == "BYTES":
        return _as_text(values, shape, tensor=tensor)
    try:
        return np.array(values, dtype=datatype.dtype).reshape(shape)
    except OverflowError:
        raise InvalidArgumentError(
            f"input {shown(tensor)} has a value outside {datatype.name}", reason="VALUE_OUT_OF_RANGE"
        ) from None


def encode_raw(array: Array, datatype: Datatype) -> bytes:
    """Return the raw form of `array`."""
    if datatype.name == "BYTES":
        texts = encode_texts(array)
        return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    return array.astype(datatype.wire_dtype, copy=False).tobytes()


def encode_texts(array: Array) -> list[bytes]:
    """Return the UTF-8 bytes of each element of a text array, in row-major order."""
    return [str(text).encode() for text in array.reshape(-1)]


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Tell whether `shape` is one of those that `wanted` (-1: any size) stands for."""
    if len(shape) != len(wanted):
        return False
    for size, want in zip(shape, wanted, strict=True):  # noqa: SIM110 (a generator takes three times as long)
        if want not in (size, -1):
            return False
    return True


def _split_raw(raw: bytes, count: int, *, tensor: str) -> list[bytes]:
    elements: list[bytes] = []
    position = 0
    while position < len(raw):
        if position + _LENGTH.size > len(raw):
            raise _wrong_length(tensor, "its raw contents end within the length of an element")
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size + length
        if position > len(raw):
            raise _wrong_length(tensor, "its raw contents end within an element")
        elements.append(raw[position - length : position])
    if len(elements) != count:
        raise _wrong_length(
            tensor, f"its raw contents have {len(elements)} elements; its shape needs {count}"
        )
    return elements


def _as_text(elements: Sequence[bytes], shape: Sequence[int], *, tensor: str) -> Array:
    array = np.empty(len(elements), dtype=object)
    try:
        for index, element in enumerate(elements):
            array[index] = element.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError(
            f"input {shown(tensor)} has an element that is not UTF-8", reason="TEXT_INVALID"
        ) from None
    return array.reshape(shape)


def _wrong_length(tensor: str, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"input {shown(tensor)}: {what}", reason="CONTENTS_LENGTH")
