import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, InvalidArgumentError
from services.model_server.tensors import (
    BY_ONNX_NAME,
    DATATYPES,
    check_shape,
    decode_raw,
    decode_values,
    encode_raw,
    encode_texts,
    find_datatype,
    fits,
    shown,
)

NUMERIC = sorted(set(DATATYPES) - {"BYTES", "BOOL"})


def raw(content: bytes, name: str, shape: list[int]) -> np.ndarray:
    return decode_raw(content, datatype=DATATYPES[name], shape=shape, tensor="x")


def typed(values: Sequence[object], name: str, shape: list[int]) -> np.ndarray:
    return decode_values(values, datatype=DATATYPES[name], shape=shape, tensor="x")


@pytest.mark.parametrize("name", NUMERIC)
def test_raw_numbers_are_little_endian_in_row_major_order(name: str) -> None:
    dtype = DATATYPES[name].dtype
    content = np.arange(6, dtype=dtype.newbyteorder("<")).tobytes()
    array = raw(content, name, [2, 3])
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3))
    assert encode_raw(array, DATATYPES[name]) == content


def test_raw_fp32_has_the_bytes_of_ieee_754() -> None:
    assert raw(b"\x00\x00\x80\x3f", "FP32", [1]).tolist() == [1.0]
    assert encode_raw(np.array([-2.0], np.float32), DATATYPES["FP32"]) == b"\x00\x00\x00\xc0"


def test_any_raw_byte_but_zero_is_true() -> None:
    array = raw(b"\x00\x01\x02\xff", "BOOL", [4])
    assert array.dtype == np.bool_
    assert array.tolist() == [False, True, True, True]
    assert encode_raw(array, DATATYPES["BOOL"]) == b"\x00\x01\x01\x01"


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_raw_bytes_come_back(texts: list[str]) -> None:
    content = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    array = raw(content, "BYTES", [len(texts)])
    assert array.tolist() == texts
    assert encode_raw(array, DATATYPES["BYTES"]) == content
    assert encode_texts(array) == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (b"\x05\x00\x00\x00abc", [1]),
        (b"\x01\x00", [1]),
        (b"", [1]),
        (b"\x01\x00\x00\x00a\x01\x00\x00\x00b", [1]),
        (b"\xff\xff\xff\xff", [1]),
    ],
)
def test_raw_bytes_of_the_wrong_length_are_refused(content: bytes, shape: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match="'x'") as refusal:
        raw(content, "BYTES", shape)
    assert refusal.value.reason == "CONTENTS_LENGTH"


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="UTF-8") as refusal:
        typed([b"\xff"], "BYTES", [1])
    assert refusal.value.reason == "TEXT_INVALID"


@pytest.mark.parametrize("length", [0, 7, 9, 16])
def test_raw_numbers_of_the_wrong_length_are_refused_with_both_lengths(length: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'x'.*{length} bytes.*needs 8") as refusal:
        raw(bytes(length), "FP32", [1, 2])
    assert refusal.value.reason == "CONTENTS_LENGTH"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("BOOL", [True, False]),
        ("INT8", [-128, 127]),
        ("UINT8", [0, 255]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("FP64", [0.1, -1e300]),
    ],
)
def test_typed_values_keep_their_extremes(name: str, values: list[object]) -> None:
    array = typed(values, name, [2, 1])
    assert array.shape == (2, 1)
    assert array.reshape(-1).tolist() == values


def test_typed_and_raw_forms_of_one_tensor_are_equal() -> None:
    values = [0.1, -3.5, float("inf"), 2.0**-149]
    content = np.array(values, "<f4").tobytes()
    np.testing.assert_array_equal(typed(values, "FP32", [2, 2]), raw(content, "FP32", [2, 2]))


@pytest.mark.parametrize(("name", "outside"), [("INT8", 128), ("UINT8", 256), ("INT16", -32769)])
def test_a_value_outside_its_datatype_is_refused(name: str, outside: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'x'.*{name}") as refusal:
        typed([outside], name, [1])
    assert refusal.value.reason == "VALUE_OUT_OF_RANGE"


def test_typed_contents_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'x'.*3 elements; shape \[2, 2\] needs 4"):
        typed([1.0, 2.0, 3.0], "FP32", [2, 2])


@pytest.mark.parametrize("shape", [[0, 2], [-1, 2], [2**62, -(2**62)], [1] * 17])
def test_a_shape_that_is_none_is_refused_by_its_field(shape: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match="'x'") as refusal:
        check_shape(shape, tensor="x", index=0)
    assert refusal.value.violations[0].field == "inputs[0].shape"


def test_a_shape_whose_product_overflows_an_int64_is_only_a_length_that_does_not_match() -> None:
    assert check_shape([2**40, 2**40], tensor="x", index=0) == (2**40, 2**40)
    for shape in ([2**32, 2**32], [2**62, 4, 4]):
        with pytest.raises(DomainError, match="needs"):
            raw(b"", "FP32", shape)
        with pytest.raises(DomainError, match="needs"):
            typed([], "FP32", shape)
        with pytest.raises(DomainError, match="needs"):
            raw(b"", "BYTES", shape)


def test_a_scalar_has_one_element() -> None:
    assert raw(bytes(4), "FP32", []).shape == ()


def test_an_unknown_datatype_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"'x' has datatype 'FLOAT'; known are BOOL, .*BYTES"
    ) as refusal:
        find_datatype("FLOAT", tensor="x", index=3)
    assert refusal.value.violations[0].field == "inputs[3].datatype"


def test_every_datatype_is_found_by_each_of_its_names() -> None:
    for datatype in DATATYPES.values():
        assert find_datatype(datatype.name, tensor="x", index=0) is datatype
        assert BY_ONNX_NAME[datatype.onnx_name] is datatype
    assert DATATYPES["BYTES"].config_name == "TYPE_STRING"
    assert DATATYPES["FP32"].config_name == "TYPE_FP32"
    assert BY_ONNX_NAME["tensor(float)"] is DATATYPES["FP32"]


@pytest.mark.parametrize(
    ("shape", "wanted", "answer"),
    [
        ([3, 7], [-1, 7], True),
        ([3, 6], [-1, 7], False),
        ([3], [-1, 7], False),
        ([], [], True),
        ([1], [], False),
    ],
)
def test_a_shape_fits_where_every_size_is_the_wanted_one_or_free(
    shape: list[int], wanted: list[int], answer: bool
) -> None:
    assert fits(shape, wanted) is answer


def test_a_long_name_is_cut_in_messages() -> None:
    assert shown("x") == "'x'"
    assert len(shown("x" * 10_000)) < 80
    assert shown("a\nb") == "'a\\nb'"
