"""Loads over gRPC, loads that go wrong in ways nobody has foreseen, and what a load that is ended leaves: nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from tests.conftest import Serve
from tests.support.clients import ask, constant, index, infer_json, tensor
from tests.support.repositories import CONSTANT, CONSTANT_CONFIG, copy_model, write_constant, write_model
from tools import proc
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

EXPLICIT = ("--model-control-mode=explicit",)
CONFIG = json.dumps(
    {
        "backend": "python",
        "input": [{"name": "ASKED", "data_type": "TYPE_BOOL", "dims": [1]}],
        "output": [{"name": "VALUE", "data_type": "TYPE_INT32", "dims": [1]}],
    }
)
WEIGHTS = bytes(range(256)) * 4096
READS_WEIGHTS = """
import hashlib, os
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        with open(os.path.join(pb_utils.get_model_dir(), "deep", "weights.bin"), "rb") as file:
            self.size = len(file.read().rstrip(b"\\xff"))
        with open(os.path.join(args["model_repository"], "labels.txt"), encoding="utf-8") as file:
            assert file.read() == "\\u00e9tiquettes\\n"

    def execute(self, requests):
        value = pb_utils.Tensor("VALUE", np.array([self.size], np.int32))
        return [pb_utils.InferenceResponse([value]) for _ in requests]
"""


def uploads(folder: Path) -> list[Path]:
    return list(folder.glob("pyserver-model-*"))


@contextmanager
def client(server: ServerProcess) -> Iterator[triton_grpc.InferenceServerClient]:
    made = triton_grpc.InferenceServerClient(server.grpc)
    try:
        yield made
    finally:
        made.close()


def test_configuration_and_files_over_grpc(serve: Serve, tmp_path: Path, nothing_left_behind: Path) -> None:
    """Text and bytes, in folders of any depth; an override alone; and back to what is on the disk."""
    write_constant(tmp_path, "there", 1)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model=*"))
    sent = {
        "file:1/model.py": READS_WEIGHTS.encode(),
        "file:1/deep/weights.bin": WEIGHTS,
        "file:labels.txt": "étiquettes\n".encode(),
    }
    with client(server) as over_grpc:
        over_grpc.load_model("there", config=CONFIG, files=sent)
        assert constant(server, "there") == len(WEIGHTS) - 1
        (folder,) = uploads(nothing_left_behind)
        assert (folder / "there/1/deep/weights.bin").read_bytes() == WEIGHTS
        over_grpc.load_model("there", config=CONFIG[:-1] + ', "instance_group": [{"count": 2}]}')
        assert constant(server, "there") == 1
        assert over_grpc.get_model_config("there", as_json=True)["config"]["instance_group"][0]["count"] == 2
        server.wait_until(lambda: not uploads(nothing_left_behind), 10, "to remove the files with their model")


def test_what_grpc_may_not_send(serve: Serve, tmp_path: Path, nothing_left_behind: Path) -> None:
    (tmp_path / "empty").mkdir()
    server = serve(tmp_path / "empty", options=(*EXPLICIT, "--max-load-size", "1000"))
    parameter = pb.ModelRepositoryParameter
    good = {"config": parameter(string_param=CONFIG)}
    model = {"file:1/model.py": parameter(bytes_param=CONSTANT.format(value=3).encode())}
    bad = {
        "does not name a file inside the model's folder": {**good, "file:../../x": parameter(bytes_param=b"x")},
        "does not name a file inside": {**good, "file:/etc/x": parameter(bytes_param=b"x")},
        "is a file and a folder at once": {**good, **model, "file:1": parameter(bytes_param=b"x")},
        "expected bytes_param, got string_param": {**good, "file:1/model.py": parameter(string_param="text")},
        "its files have 1001 bytes, the most is 1000": {**good, "file:1/big": parameter(bytes_param=bytes(1001))},
        "need a 'config' parameter": model,
        "unrecognized load parameter 'foo'": {**good, "foo": parameter(string_param="x")},
        "JSON": {"config": parameter(string_param='backend: "python"'), **model},
        "model.py": {**good, "file:1/other.py": parameter(bytes_param=b"x = 1\n")},
    }
    with client(server) as over_grpc:
        for says, parameters in bad.items():
            request = pb.RepositoryModelLoadRequest(model_name="sent", parameters=parameters)
            with pytest.raises(grpc.RpcError, match=says) as failure:
                over_grpc._client_stub.RepositoryModelLoad(request)
            assert failure.value.code().name == "INVALID_ARGUMENT", failure.value
        with pytest.raises(InferenceServerException, match="name"):
            over_grpc.load_model("../sent", config=CONFIG, files={"file:1/model.py": b"x = 1"})
        over_grpc.load_model("sent", config=CONFIG, files={"file:1/model.py": model["file:1/model.py"].bytes_param})
    assert constant(server, "sent") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
    assert len(uploads(nothing_left_behind)) == 1


def test_no_descriptors_left_is_told_and_over_when_there_are(serve: Serve, tmp_path: Path) -> None:
    """A failure of the server's own is in the index as any other, and the next load finds nothing in its way."""
    write_constant(tmp_path, "one", 1)
    write_constant(tmp_path, "two", 2)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model=one"))
    assert constant(server, "one") == 1
    usual = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    with client(server) as over_grpc:
        assert over_grpc.is_server_live()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (proc.descriptors(server.pid) + 1, usual[1]))
        with pytest.raises(InferenceServerException, match="Too many open files"):
            over_grpc.load_model("two")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, usual)
    entry = index(server)["two", "" if ("two", "") in index(server) else "1"]
    assert entry["state"] == "UNAVAILABLE"
    assert "Too many open files" in entry["reason"]
    assert constant(server, "one") == 1
    assert ask(server, "POST", "/v2/repository/models/two/load").status == 200
    assert constant(server, "two") == 2


def test_the_index_explains_a_crash_loop(serve: Serve, tmp_path: Path) -> None:
    """Who dies over and over is let rest, and who asks is told so at once; a load starts anew."""
    copy_model(tmp_path, "crashing")
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model=*"))

    def crash() -> None:
        said = infer_json(server, "crashing", {"inputs": [tensor("HOW", "BYTES", [1], ["SIGKILL"])]})
        assert said.status in {500, 503}

    for _ in range(5):
        server.wait_until(lambda: ask(server, "GET", "/v2/models/crashing/ready").status == 200, 20, "to restart")
        crash()
    server.wait_until(lambda: index(server)["crashing", "1"]["state"] == "UNAVAILABLE", 5, "to open the breaker")
    reason = index(server)["crashing", "1"]["reason"]
    assert reason.startswith("instance 'crashing_0' died 5 times in 60 s, at last: killed by SIGKILL")
    began = time.monotonic()
    answer = infer_json(server, "crashing", {"inputs": [tensor("HOW", "BYTES", [1], ["no"])]})
    assert time.monotonic() - began < 0.5
    assert answer.status == 503
    assert "died 5 times in 60 s" in answer.error
    assert ask(server, "POST", "/v2/repository/models/crashing/load").status == 200
    assert index(server)["crashing", "1"] == {"name": "crashing", "version": "1", "state": "READY"}


SEMAPHORES = """
import multiprocessing, time

class TritonPythonModel:
    def initialize(self, args):
        context = multiprocessing.get_context("spawn")
        self.held = [context.Lock(), context.Semaphore(3), context.Event()]
        print("holds", self.held[0]._semlock.name, self.held[1]._semlock.name, flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("how", ["SIGTERM", "limit", pytest.param("SIGKILL", marks=pytest.mark.heavy)])
def test_a_model_killed_while_it_loads_leaves_no_semaphore(serve: Serve, tmp_path: Path, how: str) -> None:
    """Its resource tracker, a process of its own, removes what multiprocessing has made before it is ended too."""
    write_model(tmp_path, "holding", SEMAPHORES, CONSTANT_CONFIG)
    limit = ("--model-load-limit-secs", "1") if how == "limit" else ()
    server = serve(tmp_path, options=(*EXPLICIT, *limit))
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(ask, server, "POST", "/v2/repository/models/holding/load")
        held = [Path(f"/dev/shm/sem.{name[1:]}") for name in server.wait_log("holds /mp-").split()[-2:]]
        assert all(path.exists() for path in held)
        (stub,) = proc.stubs(server.pid)
        if how == "SIGTERM":
            server.stop()
        elif how == "SIGKILL":
            os.kill(stub, signal.SIGKILL)
        assert loading.result(timeout=20).status in {400, 503}
    deadline = time.monotonic() + 5
    while any(path.exists() for path in held) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [path for path in held if path.exists()] == []
