"""Tensors to and from torch by DLPack, in a model that runs where torch is: on the way in nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conftest import Serve
from tests.support.repositories import write_model
from tools.environments import environment
from tools.process import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.ours, pytest.mark.timeout(600)]  # the first time torch has to be installed

TORCH = ["torch==2.13.0+cpu", "numpy"]
"""The build for CPUs: an index, or a folder of wheels (PIP_FIND_LINKS), has to have it."""
TYPES = ("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "BOOL")
NUMPY = {"FP16": "f2", "FP32": "f4", "FP64": "f8", "BOOL": "?"}
SOURCE = """
import numpy as np
import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([self.one(tensor) for tensor in request.inputs()]) for request in requests]

    def one(self, tensor):
        name = tensor.name() + "_OUT"
        if tensor.name() == "STRING":
            return self.refused(tensor, name)
        both = [torch.utils.dlpack.from_dlpack(tensor.to_dlpack()), torch.from_dlpack(tensor)]
        assert both[0].data_ptr() == both[1].data_ptr(), "a view, not a copy"
        if tensor.name() != "BF16":
            assert both[0].data_ptr() == tensor.as_numpy().__array_interface__["data"][0]
        assert both[0].device == torch.device("cpu") and tensor.is_cpu()
        assert tensor.__dlpack_device__() == (1, 0)
        found = both[0]
        result = ~found if found.dtype is torch.bool else found + found
        made = pb_utils.Tensor.from_dlpack(name, result if len(found) % 2 else torch.utils.dlpack.to_dlpack(result))
        if tensor.name() != "BF16":
            assert made.as_numpy().__array_interface__["data"][0] == result.data_ptr(), "a view, not a copy"
        del found, both, result
        return made

    def refused(self, tensor, name):
        said = []
        for wrong in (lambda: tensor.to_dlpack(), lambda: pb_utils.Tensor.from_dlpack("X", torch.ones(2, 3).T),
                      lambda: pb_utils.Tensor.from_dlpack("X", torch.ones(2, dtype=torch.complex64))):
            try:
                wrong()
            except pb_utils.TritonModelException as error:
                said.append(str(error))
        return pb_utils.Tensor(name, np.array(said, np.object_))
"""


@pytest.fixture(scope="module")
def server(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    python = environment("torch-cpu", TORCH) / "bin/python"
    config = f'backend: "python"\nparameters {{ key: "PYTHON_EXECUTABLE" value {{ string_value: "{python}" }} }}\n'
    for name in (*TYPES, "BF16", "STRING"):
        for kind, suffix in (("input", ""), ("output", "_OUT")):
            optional = " optional: true" if kind == "input" else ""
            config += f'{kind} {{ name: "{name}{suffix}" data_type: TYPE_{name} dims: [ -1 ]{optional} }}\n'
    repository = tmp_path_factory.mktemp("torch")
    write_model(repository, "through_torch", SOURCE, config)
    with make_server(repository) as running:
        yield running


def infer(server: ServerProcess, **arrays: tuple[str, np.ndarray]) -> triton_grpc.InferResult:
    inputs = []
    for name, (datatype, array) in arrays.items():
        made = triton_grpc.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        inputs.append(made)
    client = triton_grpc.InferenceServerClient(server.grpc)
    try:
        return client.infer("through_torch", inputs)
    finally:
        client.close()


@pytest.mark.parametrize("length", [3, 100_000])
def test_every_type_there_and_back(server: ServerProcess, length: int) -> None:
    """Odd lengths come back as tensors, even ones as capsules."""
    asked = {}
    for datatype in TYPES:
        values = np.arange(length) % 50
        asked[datatype] = datatype, values.astype(NUMPY.get(datatype) or datatype.lower())
    for _ in range(3):
        result = infer(server, **asked)
        for datatype, (_, array) in asked.items():
            got = result.as_numpy(f"{datatype}_OUT")
            expected = ~array if datatype == "BOOL" else array + array
            assert got.dtype == array.dtype
            assert (got == expected).all(), datatype


def test_bfloat16_which_numpy_has_not(server: ServerProcess) -> None:
    """1, 2.5 and -3: the upper halves of their 32-bit floats."""
    asked = pb.ModelInferRequest(model_name="through_torch")
    asked.inputs.add(name="BF16", datatype="BF16", shape=[3])
    asked.raw_input_contents.append(bytes.fromhex("803f 2040 40c0"))
    with grpc.insecure_channel(server.grpc) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(asked)
    assert [(output.name, output.datatype) for output in answer.outputs] == [("BF16_OUT", "BF16")]
    assert answer.raw_output_contents[0] == bytes.fromhex("0040 a040 c0c0")


def test_what_cannot_be_handed_over_says_why(server: ServerProcess) -> None:
    result = infer(server, STRING=("BYTES", np.array([b"x"], np.object_)))
    strings, strided, complex_numbers = (said.decode() for said in result.as_numpy("STRING_OUT"))
    assert "DLPack does not have support for string tensors." in strings
    assert "Only contiguous DLPack tensors that are stored in C-Order are supported." in strided
    assert complex_numbers
