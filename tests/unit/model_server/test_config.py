import pytest

from gen.inference import grpc_service_pb2 as pb
from services.common.errors import FailedPreconditionError
from services.model_server.config import agree, choose_versions, complete_config, parse_config, threads_of
from services.model_server.tensors import DATATYPES, TensorSpec

X = TensorSpec(name="x", datatype=DATATYPES["FP32"], shape=(-1, 7))
Y = TensorSpec(name="y", datatype=DATATYPES["FP32"], shape=(-1, 1))

FOREST = """
name: "forest"
backend: "onnxruntime"
max_batch_size: 64
input [ { name: "x" data_type: TYPE_FP32 dims: [ 7 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
version_policy { specific { versions: [ 2, 5 ] } }
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
model_warmup [ {
  name: "one"
  batch_size: 1
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 7 ] zero_data: true } }
} ]
"""


def test_a_config_as_triton_reads_it_is_taken_whole() -> None:
    config = parse_config(FOREST, "forest")
    assert config.max_batch_size == 64
    assert config.platform == "onnxruntime_onnx"
    assert config.default_model_filename == "model.onnx"
    spec = agree(config, inputs=[X], outputs=[Y])
    assert spec.max_batch_size == 64
    assert [(tensor.name, tensor.shape) for tensor in (*spec.inputs, *spec.outputs)] == [
        ("x", (-1, 7)),
        ("y", (-1, 1)),
    ]
    assert complete_config(config, inputs=[X], outputs=[Y]) == config


def test_what_a_config_leaves_out_comes_from_the_model() -> None:
    config = parse_config("", "forest")
    assert config.name == "forest"
    assert config.version_policy.latest.num_versions == 1
    complete = complete_config(config, inputs=[X], outputs=[Y])
    assert list(complete.input[0].dims) == [-1, 7]
    assert complete.output[0].data_type == pb.TYPE_FP32
    assert not config.input


def test_the_batch_of_a_batched_model_is_not_among_its_dims() -> None:
    complete = complete_config(parse_config("max_batch_size: 8", "m"), inputs=[X], outputs=[Y])
    assert list(complete.input[0].dims) == [7]
    assert agree(complete, inputs=[X], outputs=[Y]).inputs[0].shape == (-1, 7)


def test_the_narrower_of_config_and_model_is_checked() -> None:
    loose = TensorSpec(name="x", datatype=DATATYPES["FP32"], shape=(-1, -1))
    config = parse_config('input { name: "x" data_type: TYPE_FP32 dims: [ -1, 7 ] }', "m")
    assert agree(config, inputs=[loose], outputs=[]).inputs[0].shape == (-1, 7)
    config = parse_config('input { name: "x" data_type: TYPE_FP32 dims: [ 5, -1 ] }', "m")
    assert agree(config, inputs=[X], outputs=[]).inputs[0].shape == (5, 7)


def test_a_config_may_offer_fewer_outputs_than_the_model_has() -> None:
    config = parse_config('output { name: "y" data_type: TYPE_FP32 dims: [ -1, 1 ] }', "m")
    other = TensorSpec(name="z", datatype=DATATYPES["INT64"], shape=(-1,))
    complete = complete_config(config, inputs=[X], outputs=[Y, other])
    assert [tensor.name for tensor in agree(complete, inputs=[X], outputs=[Y, other]).outputs] == ["y"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("max_batch_sise: 3", r"does not parse: 1:1.*max_batch_sise"),
        ("max_batch_size: 3\ninput {", "does not parse: 2"),
        ('name: "other"', "names model 'other', but its folder is 'm'"),
        ('backend: "python"', "backend 'python'"),
        ('platform: "tensorrt_plan"', "platform 'tensorrt_plan'"),
        ("max_batch_size: -1", "max_batch_size -1"),
        ('default_model_filename: "../../etc/passwd"', "no plain file name"),
        ('default_model_filename: ".."', "no plain file name"),
        ('input { name: "x" reshape { shape: [ 1 ] } }', "reshape"),
        ("instance_group { kind: KIND_GPU }", "GPU"),
    ],
)
def test_a_config_that_cannot_be_served_is_refused_by_what_it_says(text: str, what: str) -> None:
    with pytest.raises(FailedPreconditionError, match=what) as refusal:
        parse_config(text, "m")
    assert refusal.value.reason == "MODEL_CONFIG_INVALID"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('input { name: "z" data_type: TYPE_FP32 dims: [ -1, 7 ] }', "input 'z', which the model has not"),
        (
            'input { name: "x" data_type: TYPE_FP64 dims: [ -1, 7 ] }',
            "input 'x' as TYPE_FP64; in the model it is TYPE_FP32",
        ),
        ('input { name: "x" dims: [ -1, 7 ] }', "input 'x' as TYPE_INVALID"),
        ('input { name: "x" data_type: TYPE_FP32 dims: [ -1, 6 ] }', r"shape \[-1, 6\].*\[-1, 7\]"),
        ('input { name: "x" data_type: TYPE_FP32 dims: [ 7 ] }', r"shape \[7\]"),
        ('input { name: "x" data_type: TYPE_FP32 dims: [ 0, 7 ] }', r"shape \[0, 7\]"),
        ('input { name: "x" data_type: TYPE_FP32 dims: [ -2, 7 ] }', r"shape \[-2, 7\]"),
        (
            2 * 'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 7 ] } ',
            "input 'x' twice",
        ),
        ('output { name: "q" data_type: TYPE_FP32 dims: [ 1 ] }', "output 'q'"),
        ('max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: [ -1, 7 ] }', r"\[-1, -1, 7\]"),
    ],
)
def test_a_config_that_contradicts_the_model_is_refused(text: str, what: str) -> None:
    complete = complete_config(parse_config(text, "m"), inputs=[X], outputs=[Y])
    with pytest.raises(FailedPreconditionError, match=what):
        agree(complete, inputs=[X], outputs=[Y])


def test_a_config_must_offer_all_inputs() -> None:
    other = TensorSpec(name="w", datatype=DATATYPES["FP32"], shape=(-1,))
    config = parse_config('input { name: "x" data_type: TYPE_FP32 dims: [ -1, 7 ] }', "m")
    with pytest.raises(FailedPreconditionError, match="leaves out inputs that the model needs: w"):
        agree(config, inputs=[X, other], outputs=[])


def test_a_model_without_a_batch_is_not_served_as_batched() -> None:
    fixed = TensorSpec(name="x", datatype=DATATYPES["FP32"], shape=(1, 7))
    complete = complete_config(parse_config("max_batch_size: 4", "m"), inputs=[fixed], outputs=[Y])
    with pytest.raises(FailedPreconditionError, match="'x' has no batch in the model"):
        agree(complete, inputs=[fixed], outputs=[Y])


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ("", [9]),
        ("version_policy { latest { } }", [9]),
        ("version_policy { latest { num_versions: 2 } }", [9, 3]),
        ("version_policy { latest { num_versions: 10 } }", [9, 3, 1]),
        ("version_policy { all { } }", [9, 3, 1]),
        ("version_policy { specific { versions: [ 1, 3, 1 ] } }", [3, 1]),
    ],
)
def test_the_version_policy_chooses_newest_first(policy: str, chosen: list[int]) -> None:
    assert choose_versions(parse_config(policy, "m"), [9, 3, 1]) == chosen


@pytest.mark.parametrize(
    ("policy", "present", "what"),
    [
        ("version_policy { specific { versions: [ 1, 4 ] } }", [1], r"of which \[4\] are not"),
        ("version_policy { specific { } }", [1], r"versions \[\]"),
        ("", [], "no version"),
        ("version_policy { all { } }", [], "no version"),
    ],
)
def test_versions_that_are_not_there_are_refused(policy: str, present: list[int], what: str) -> None:
    with pytest.raises(FailedPreconditionError, match=what) as refusal:
        choose_versions(parse_config(policy, "m"), present)
    assert refusal.value.reason == "MODEL_VERSION_MISSING"


def thread_parameter(text: str) -> pb.ModelConfig:
    return parse_config(
        f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{text}" }} }}', "m"
    )


def test_a_config_may_ask_for_fewer_threads_only() -> None:
    assert threads_of(parse_config("", "m"), most=4) == 4
    assert threads_of(thread_parameter("2"), most=4) == 2
    assert threads_of(thread_parameter("64"), most=4) == 4


@pytest.mark.parametrize("text", ["0", "-1", "two", "²"])
def test_a_number_of_threads_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FailedPreconditionError, match="intra_op_thread_count"):
        threads_of(thread_parameter(text), most=4)
