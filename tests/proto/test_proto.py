from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pyserver.proto import health, inference, model_config, pool

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

# What our messages have and the client's do not (yet).
NEWER_THAN_THE_CLIENT: list[str] = []


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_messages_are_those_of_tritons_client() -> None:
    found = json.loads(run(str(HERE / "descriptors.py")))
    assert found["theirs"] > 300
    assert found["missing"] == []
    assert found["different"] == []
    assert found["new"] == NEWER_THAN_THE_CLIENT


def test_client_reads_what_we_write() -> None:
    run(
        "-c",
        "from pyserver.proto import inference\n"
        "from tritonclient.grpc import service_pb2\n"
        "ours = inference.ModelInferRequest(model_name='m', raw_input_contents=[b'abc'])\n"
        "ours.parameters['p'].double_param = 0.5\n"
        "theirs = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())\n"
        "assert theirs.raw_input_contents == [b'abc'] and theirs.parameters['p'].double_param == 0.5\n",
    )


def test_a_process_that_asks_for_no_message_loads_no_protobuf() -> None:
    run(
        "-c",
        "import sys\n"
        "from pyserver.proto import health, inference, model_config, pool\n"
        "assert not [name for name in sys.modules if name.startswith('google.protobuf')]\n",
    )


def test_classes_enums_and_numbers_have_their_names() -> None:
    config = model_config.ModelConfig(name="m", max_batch_size=4)
    config.input.add(name="x", data_type=model_config.TYPE_FP32, dims=[-1])
    again = model_config.ModelConfig.FromString(config.SerializeToString())
    assert again == config
    assert model_config.DataType.Name(again.input[0].data_type) == "TYPE_FP32"
    assert model_config.ModelInstanceGroup.KIND_CPU == 2
    assert model_config.ModelConfig is type(config)
    assert type(inference.ModelConfigResponse(config=config).config) is model_config.ModelConfig


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"model_config.proto has no 'ModelConfigg'"):
        getattr(model_config, "ModelConfigg")  # noqa: B009


def test_methods_of_the_service() -> None:
    methods = {method.name: method for method in pool.methods("inference.GRPCInferenceService")}
    assert len(methods) == 20
    assert methods["ModelInfer"] == (
        "ModelInfer",
        "/inference.GRPCInferenceService/ModelInfer",
        inference.ModelInferRequest,
        inference.ModelInferResponse,
        False,
        False,
    )
    assert methods["ModelStreamInfer"].request_streams
    assert methods["ModelStreamInfer"].response_streams
    check, watch = pool.methods("grpc.health.v1.Health")
    assert check.path == "/grpc.health.v1.Health/Check"
    assert watch.response is health.HealthCheckResponse
    assert watch.response_streams


def test_missing_descriptors_say_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pool, "DESCRIPTORS", tmp_path / "messages.desc")
    with pytest.raises(ImportError, match=r"messages.desc.*python setup.py build_ext --inplace"):
        pool._pool.__wrapped__()


def test_threads_share_one_pool_and_one_class_of_each_message() -> None:
    script = (
        "import concurrent.futures, sys, threading\n"
        "sys.setswitchinterval(1e-6)\n"
        "from pyserver.proto import model_config\n"
        "ready = threading.Barrier(8)\n"
        "def made(_):\n"
        "    ready.wait()\n"
        "    return model_config.ModelConfig\n"
        "with concurrent.futures.ThreadPoolExecutor(8) as threads:\n"
        "    print(len(set(threads.map(made, range(8)))))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "1"
