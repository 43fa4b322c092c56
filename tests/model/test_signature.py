"""A model's signature: what passes, what is refused and in which words (Triton's, where it has some)."""

from __future__ import annotations

import math

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.model.reshape import fill
from pyserver.model.signature import Signature
from pyserver.model.spec import TensorSpec
from pyserver.types import InferRequest, RequestedOutput, Tensor


def add_sub(max_batch_size: int = 0) -> Signature:
    inputs = [TensorSpec("A", "FP32", (4,)), TensorSpec("B", "FP32", (-1,))]
    return Signature("m", max_batch_size, inputs, [TensorSpec("SUM", "FP32", (4,))])


def fp32(name: str, *shape: int) -> Tensor:
    return Tensor(name, "FP32", shape, bytes(max(0, 4 * math.prod(shape))))


def refusal(signature: Signature, *inputs: Tensor, outputs: list[RequestedOutput] | None = None) -> str:
    with pytest.raises(ServerError) as caught:
        signature.check(InferRequest("m", id="7", inputs=list(inputs), outputs=outputs))
    assert caught.value.code is ErrorCode.INVALID_ARG
    return caught.value.message


@pytest.mark.parametrize("times", [1, 2])
def test_a_right_request_passes_with_one_row(times: int) -> None:
    signature = add_sub()
    for _ in range(times):
        assert signature.check(InferRequest("m", inputs=[fp32("A", 4), fp32("B", 0)])) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_rows_are_the_first_dimension_of_a_batching_model(times: int) -> None:
    signature = add_sub(max_batch_size=8)
    for _ in range(times):
        assert signature.check(InferRequest("m", inputs=[fp32("B", 3, 9), fp32("A", 3, 4)])) == 3


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            [fp32("A", 4)],
            "[request id: 7] expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['A'], but missing required"
            " input(s) ['B']. Please provide all required input(s).",
        ),
        ([fp32("A", 4), fp32("B", 1), fp32("C", 1)], "expected 2 inputs but got 3 inputs for model 'm'."),
        ([fp32("A", 4), fp32("ZZ", 1)], "unexpected inference input 'ZZ' for model 'm'"),
        (
            [Tensor("A", "FP64", (4,), b""), fp32("B", 1)],
            "inference input 'A' data-type is 'FP64', but model 'm' expects 'FP32'",
        ),
        ([fp32("A", 3), fp32("B", 1)], "unexpected shape for input 'A' for model 'm'. Expected [4], got [3]."),
        ([fp32("A", 4, 1), fp32("B", 1)], "unexpected shape for input 'A' for model 'm'. Expected [4], got [4,1]."),
        (
            [fp32("A", 4), fp32("B", -1)],
            "All input dimensions should be specified for input 'B' for model 'm', got [-1]",
        ),
    ],
)
def test_what_does_not_fit_is_named(inputs: list[Tensor], said: str) -> None:
    assert said in refusal(add_sub(), *inputs)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([fp32("A"), fp32("B")], "input 'A' has no shape but model requires batch dimension for 'm'"),
        (
            [fp32("A", 1, 4), fp32("B", 2, 1)],
            "input 'B' batch size does not match other inputs for 'm': got 2, expected 1",
        ),
        ([fp32("A", 9, 4), fp32("B", 9, 1)], "inference request batch-size must be <= 8 for 'm', got 9"),
        ([fp32("A", 0, 4), fp32("B", 0, 1)], "Expected at least one row in the batch, got 0"),
        ([fp32("A", 2, 5), fp32("B", 2, 1)], "Expected [-1,4], got [2,5]. NOTE: Setting a non-zero max_batch_size"),
    ],
)
def test_what_does_not_fit_a_batch_is_named(inputs: list[Tensor], said: str) -> None:
    assert said in refusal(add_sub(max_batch_size=8), *inputs)


def test_batches_that_passed_apart_do_not_pass_together() -> None:
    signature = add_sub(max_batch_size=8)
    for rows in (1, 2):
        signature.check(InferRequest("m", inputs=[fp32("A", rows, 4), fp32("B", rows, 1)]))
    assert "batch size does not match" in refusal(signature, fp32("A", 1, 4), fp32("B", 2, 1))


@pytest.mark.parametrize("first", [b"", bytes(16)])
def test_as_many_bytes_as_the_shape_says(first: bytes) -> None:
    signature = Signature("m", 0, [TensorSpec("A", "FP32", (4,))], [])
    if first:
        signature.check(InferRequest("m", inputs=[Tensor("A", "FP32", (4,), first)]))
    said = refusal(signature, Tensor("A", "FP32", (4,), bytes(12)))
    assert "input byte size mismatch for input 'A' for model 'm'. Expected 16, got 12" in said


@pytest.mark.parametrize("count", [2, 3])
def test_an_input_is_there_once(count: int) -> None:
    names = "AABC"[:count]
    signature = Signature("m", 0, [TensorSpec(name, "FP32", (-1,)) for name in "ABC"[:count]], [])
    for name in "ABC"[:count]:
        signature.inputs[name].sizes[4,] = 16
    for order in (names, names[1:] + names[:1]):
        assert "input 'A' already exists in request" in refusal(signature, *[fp32(name, 4) for name in order])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\1\0\0\0a", "expected 2 string elements for inference input 'T' for model 'm', got 1"),
        (b"\0\0\0\0" * 3, "unexpected number of string elements 3 for inference input 'T' for model 'm', expecting 2"),
        (b"\0\0\0\0\0\0", "incomplete string length indicator for inference input 'T'"),
        (
            b"\0\0\0\0\x64\0\0\0abcd",
            "incomplete string data for inference input 'T', expecting string of length 100"
            " but only 4 bytes available (element 1, model 'm')",
        ),
    ],
)
def test_as_many_strings_as_the_shape_says(data: bytes, said: str) -> None:
    signature = Signature("m", 0, [TensorSpec("T", "BYTES", (-1,))], [])
    assert said in refusal(signature, Tensor("T", "BYTES", (2,), data))


@pytest.mark.parametrize(("datatype", "shape"), [("FP31", (1,)), ("FP32", (1 << 40, 1 << 40))])
def test_without_a_configuration_a_tensor_still_has_to_be_one(datatype: str, shape: tuple[int, ...]) -> None:
    assert "input 'X' for model 'm': " in refusal(Signature("m", 0, [], []), Tensor("X", datatype, shape, b""))


def test_optional_inputs_may_be_left_out_and_required_ones_may_not() -> None:
    signature = Signature("m", 0, [TensorSpec("A", "FP32", (1,)), TensorSpec("O", "FP32", (1,), optional=True)], [])
    assert signature.check(InferRequest("m", inputs=[fp32("A", 1)])) == 1
    assert "expected number of inputs between 1 and 2 but got 1 inputs" in refusal(signature, fp32("O", 1))


def test_an_unknown_output_is_named() -> None:
    said = refusal(add_sub(), fp32("A", 4), fp32("B", 1), outputs=[RequestedOutput("NOPE")])
    assert "unexpected inference output 'NOPE' for model 'm', expected one of ['SUM']" in said


def test_a_model_without_configured_inputs_takes_any() -> None:
    assert Signature("m", 0, [], []).check(InferRequest("m", inputs=[fp32("X", 1, 2, 3)])) == 1


def raw(data: bytes) -> InferRequest:
    return InferRequest("m", inputs=[Tensor("", "", (), data)], raw_input=True)


@pytest.mark.parametrize(
    ("spec", "max_batch_size", "data", "shape"),
    [
        (TensorSpec("A", "FP32", (-1,)), 0, bytes(12), (3,)),
        (TensorSpec("A", "FP32", (2, -1)), 4, bytes(24), (1, 2, 3)),
        (TensorSpec("A", "INT8", (3,)), 0, bytes(3), (3,)),
        (TensorSpec("A", "BYTES", (1,)), 0, b"abc", (1,)),
    ],
)
def test_a_raw_request_gets_the_shape_of_its_size(
    spec: TensorSpec, max_batch_size: int, data: bytes, shape: tuple[int, ...]
) -> None:
    request = raw(data)
    Signature("m", max_batch_size, [spec], []).check(request)
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == (spec.name, spec.datatype, shape)
    assert bytes(tensor.data) == (b"\3\0\0\0abc" if spec.datatype == "BYTES" else data)


@pytest.mark.parametrize(
    ("specs", "data", "said"),
    [
        ([TensorSpec("A", "FP32", (1,)), TensorSpec("B", "FP32", (1,))], b"", "Raw request must only have 1 input"),
        ([TensorSpec("T", "BYTES", (2,))], b"", "For BYTE datatype raw input 'T', the model must have input shape [1]"),
        ([TensorSpec("A", "FP32", (-1, -1))], b"", "there are more than one variable-sized dimension"),
        ([TensorSpec("A", "FP32", (-1,))], bytes(5), "Expected a multiple of 4, got 5"),
        ([TensorSpec("A", "FP32", (2,))], bytes(5), "Expected 8, got 5"),
    ],
)
def test_a_raw_request_that_cannot_be_deduced_is_refused(specs: list[TensorSpec], data: bytes, said: str) -> None:
    with pytest.raises(ServerError) as caught:
        Signature("m", 0, specs, []).check(raw(data))
    assert said in caught.value.message


def test_reshaped_tensors_are_seen_by_the_model_and_restored_for_the_client() -> None:
    inputs = [TensorSpec("A", "FP32", (1,), reshape=())]
    signature = Signature("m", 8, inputs, [TensorSpec("O", "FP32", (1,), reshape=())])
    request = InferRequest("m", inputs=[fp32("A", 2, 1)])
    signature.check(request)
    assert request.inputs[0].shape == (2,)
    output = fp32("O", 2)
    signature.restore([output])
    assert output.shape == (2, 1)


@pytest.mark.parametrize(
    ("pattern", "shape", "filled"),
    [
        ((2, -1), (6, 2), (2, 6)),
        ((-1, 3), (3, 5), (5, 3)),
        ((), (1,), ()),
        ((4, 4), (16,), (4, 4)),
        ((-1,), (1,), (1,)),
    ],
)
def test_variable_sizes_move_to_where_the_reshape_wants_them(
    pattern: tuple[int, ...], shape: tuple[int, ...], filled: tuple[int, ...]
) -> None:
    assert fill(pattern, shape) == filled
