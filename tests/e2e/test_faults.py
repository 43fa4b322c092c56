"""Models that do the worst: only their own requests fail, with the reason, and the server is what it was before."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask, constant, index, infer_json, tensor
from tests.support.repositories import CONSTANT_CONFIG, copy_model, write_constant, write_model
from tools import proc
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

AT_ONCE = 1.0
"""Seconds in which who waits hears of a death: a tenth is the promise, the rest is for a busy machine."""
FAULT_CONFIG = """
backend: "python"
input { name: "HOW" data_type: TYPE_STRING dims: [ 1 ] }
output { name: "PID" data_type: TYPE_INT64 dims: [ 1 ] }
"""
FAULTS = '''
"""Does to itself what it is asked to."""

import ctypes, os, resource, socket, stat, sys, time
import numpy as np
import triton_python_backend_utils as pb_utils
from pyserver.ipc import messages as m

EMPTY = m.pack_layout(m.Layout(()))
ASKED = m.pack_layout(m.Layout((("ASKED", "BOOL", (1,)),)))
FLOATS = m.pack_layout(m.Layout((("A", "FP32", (4,)),)))

libc = ctypes.CDLL(None)


def channels():
    """The stub's ends of its two channels: whoever looks for them finds them."""
    found = []
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                found.append(socket.socket(fileno=os.dup(fd)))
        except OSError:
            pass
    return found


def channel():
    return channels()[0]


def ask(*records):
    """Say something on the second channel, and give the server time to be shocked."""
    channels()[1].send(b"".join(records))
    time.sleep(0.2)


def call(key, extras=b'{"model_name": "other"}', windows=(), layout=EMPTY):
    return m.pack_execute(0, [(key, 0, layout, windows, extras)])


def recurse(depth):
    return recurse(depth + 1) + 1


def memory_error():
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, before[1]))
    try:
        bytearray(8 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


HOW = {
    "os._exit": lambda: os._exit(0),
    "abort": lambda: libc.abort(),
    "segfault": lambda: ctypes.string_at(0),
    "C stack": lambda: (sys.setrecursionlimit(10**9), resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20)),
                        libc.abort()),
    "recursion": lambda: recurse(0),
    "sys.exit": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "memory": memory_error,
    "garbage": lambda: channel().send(b"\\xff" * 100),
    "empty": lambda: channel().send(b"\\0" * 8),
    "forged": lambda: channel().send(b"\\x14\\0\\0\\0\\x28\\0\\0\\0" + b"\\x01" * 40),
    "calls: garbage": lambda: ask(b"\\xff" * 100),
    "calls: empty": lambda: ask(b"\\0" * 8),
    "calls: another's kind": lambda: ask(m.pack_executed(1, 2, 3, 4, 5)),
    "calls: outside": lambda: ask(call(1, windows=(1 << 40, 16), layout=FLOATS)),
    "calls: overflow": lambda: ask(call(1, windows=((1 << 64) - 8, 16), layout=FLOATS)),
    "calls: wrong size": lambda: ask(call(1, windows=(4096, 8), layout=FLOATS)),
    "calls: broken layout": lambda: ask(call(1, layout=b"\\xff" * 16)),
    "calls: no JSON": lambda: ask(call(1, extras=b"{")),
    "calls: deep JSON": lambda: ask(m.record(m.CONTROL, b"[" * 60000)),
    "calls: free": lambda: ask(m.pack_free((64,))),
    "calls: no key": lambda: ask(m.pack_json(m.CONTROL, {"what": "ready"})),
    "calls: twice": lambda: ask(*[call(1, windows=(4096, 1), layout=ASKED)] * 2),
    "calls: closed": lambda: (channels()[1].shutdown(socket.SHUT_RDWR), time.sleep(0.2)),
    "calls: odd": lambda: ask(
        call(1, b'{"model_name": "nope"}'), call(2, b'{}'), call(3, b'{"model_name": 5, "for": 5}'),
        call(4, b'{"model_name": "other", "for": [-1, "x", 18446744073709551616, null], "outputs": 3}'),
        m.pack_json(m.CANCEL, {"key": 77}), m.pack_json(m.PROBED, {"key": 0, "ready": "perhaps"}),
        m.pack_json(m.CONTROL, {"key": 5, "what": "rm -rf"}), m.pack_json(m.CONTROL, {"key": 6, "what": "metric"})),
    "calls: flood": lambda: [channels()[1].send(m.pack_json(m.CONTROL, {"key": n, "what": "ready", "model": "x"}))
                             for n in range(500)],
    "closed": lambda: channel().shutdown(socket.SHUT_RDWR),
    "closed fds": lambda: os.closerange(3, 64),
    "SIGSTOP": lambda: os.kill(os.getpid(), 19),
    "GIL": lambda: (print("keeps the lock", flush=True), ctypes.PyDLL(None).sleep(3)),
    "threads": lambda: [__import__("threading").Thread(target=libc.sleep, args=(600,), daemon=True).start()
                        for _ in range(50)],
    "descriptors": lambda: [os.pipe() for _ in range(100)],
    "None": lambda: None,
}


class TritonPythonModel:
    def execute(self, requests):
        how = pb_utils.get_input_tensor_by_name(requests[0], "HOW").as_numpy()[0].decode()
        if how in RETURNS:
            return RETURNS[how](requests)
        HOW[how]()
        pid = pb_utils.Tensor("PID", np.array([os.getpid()], np.int64))
        return [pb_utils.InferenceResponse([pid]) for _ in requests]


RETURNS = {
    "returns None": lambda requests: None,
    "returns a dict": lambda requests: {},
    "returns a tensor": lambda requests: [pb_utils.Tensor("PID", np.zeros(1, np.int64))],
    "returns too few": lambda requests: [],
    "returns too many": lambda requests: [pb_utils.InferenceResponse([])] * (len(requests) + 1),
    "returns itself": lambda requests: requests,
}
'''


def fault(server: ServerProcess, how: str, model: str = "faulty") -> Answer:
    return infer_json(server, model, {"inputs": [tensor("HOW", "BYTES", [1], [how])]})


def is_ready(server: ServerProcess, model: str = "faulty") -> bool:
    return ask(server, "GET", f"/v2/models/{model}/ready").status == 200


@pytest.fixture(scope="module")
def faulty(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all faults, which has to survive them: the faulty model, and one that is not."""
    repository = tmp_path_factory.mktemp("faults")
    write_model(repository, "faulty", FAULTS, FAULT_CONFIG)
    write_constant(repository, "other", 5)
    with make_server(repository, options=("--model-control-mode=explicit", "--load-model=*")) as server:
        yield server


@contextmanager
def unharmed(server: ServerProcess) -> Iterator[None]:
    """The other model serves all the while; afterwards the server has what it had."""
    descriptors, threads = proc.descriptors(server.pid), proc.threads(server.pid)
    done = False

    def keep_asking() -> int:
        count = 0
        while not done:
            assert constant(server, "other") == 5
            count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(keep_asking)
        try:
            yield
        finally:
            done = True
        assert asking.result(timeout=20) > 0
    server.wait_until(lambda: len(proc.stubs(server.pid)) == 2, 20, "to have one process for each model")
    server.wait_until(lambda: proc.descriptors(server.pid) <= descriptors + 1, 10, "to close what the dead have left")
    assert proc.threads(server.pid) <= threads + 4


def revive(server: ServerProcess) -> None:
    """Whatever came before, the model is there; a load closes its breaker."""
    if not is_ready(server):
        assert ask(server, "POST", "/v2/repository/models/faulty/load").status == 200


DEADLY = {
    "os._exit": "exited with status 0",
    "abort": "SIGABRT",
    "segfault": "SIGSEGV",
    "C stack": "SIGABRT",
    "garbage": "it sent what is no message",
    "empty": "it sent what is no message",
    "forged": "it sent what is no message",
    "closed": "",
    "closed fds": "",
    "calls: garbage": "it sent what is no message",
    "calls: empty": "it sent what is no message",
    "calls: another's kind": "it sent what is no message",
    "calls: outside": "it sent what is no message",
    "calls: overflow": "it sent what is no message",
    "calls: wrong size": "it sent what is no message",
    "calls: broken layout": "it sent what is no message",
    "calls: no JSON": "it sent what is no message",
    "calls: deep JSON": "it sent what is no message",
    "calls: free": "it sent what is no message",
    "calls: no key": "it sent what is no message",
    "calls: twice": "it sent what is no message",
}


QUICK = {"calls: garbage", "calls: outside", "calls: no key", "calls: twice"}
"""Of what is wrong on the second channel these are always tried: each costs a new process."""


WEIGHED = [
    pytest.param(how, marks=[pytest.mark.heavy] if how.startswith("calls") and how not in QUICK else [])
    for how in DEADLY
]


@pytest.mark.parametrize("how", WEIGHED)
def test_what_ends_the_process(faulty: ServerProcess, how: str) -> None:
    revive(faulty)
    stub = int(fault(faulty, "None").json["outputs"][0]["data"][0])
    with unharmed(faulty):
        asked = time.monotonic()
        answer = fault(faulty, how)
        assert time.monotonic() - asked < AT_ONCE
        assert answer.status in {500, 503}, answer
        assert "faulty_0" in answer.error
        assert DEADLY[how] in answer.error
        faulty.wait_until(lambda: not proc.alive(stub), 5, "to end the process")
        revive(faulty)
    assert fault(faulty, "None").json["outputs"][0]["data"] != [stub]


RAISED = {
    "recursion": "RecursionError",
    "sys.exit": "SystemExit: 3",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "memory": "MemoryError",
    "returns None": "Expected a list in the execute return, found type '<class 'NoneType'>'",
    "returns a dict": "Expected a list in the execute return",
    "returns a tensor": "Expected an 'InferenceResponse' object",
    "returns too few": "InferenceResponse(s) size is:0",
    "returns too many": "InferenceResponse(s) size is:2",
    "returns itself": "Expected an 'InferenceResponse' object",
}


@pytest.mark.parametrize("how", RAISED)
def test_what_fails_a_request_alone(faulty: ServerProcess, how: str) -> None:
    revive(faulty)
    stub = int(fault(faulty, "None").json["outputs"][0]["data"][0])
    answer = fault(faulty, how)
    assert answer.status == 500
    assert RAISED[how] in answer.error
    assert fault(faulty, "None").json["outputs"][0]["data"] == [stub], "the same process serves on"


@pytest.mark.parametrize("how", ["threads", "descriptors"])
def test_what_a_model_hoards_goes_with_it(faulty: ServerProcess, how: str) -> None:
    revive(faulty)
    with unharmed(faulty):
        assert fault(faulty, how).status == 200
        stub = _process(faulty)
        os.kill(stub, signal.SIGKILL)
        faulty.wait_until(lambda: _process(faulty) not in (0, stub), 20, "to restart it")


def _process(server: ServerProcess) -> int:
    """The number of the model's process; 0 while there is none."""
    answer = fault(server, "None")
    return int(answer.json["outputs"][0]["data"][0]) if answer.status == 200 else 0


@pytest.mark.parametrize("how", ["calls: odd", "calls: flood", "calls: closed"])
def test_what_is_odd_and_no_crime(faulty: ServerProcess, how: str) -> None:
    """Questions that make no sense are refused, answers to questions that nobody asked are passed over."""
    revive(faulty)
    with unharmed(faulty):
        assert fault(faulty, how).status == 200
        assert fault(faulty, "None").status == 200


def test_a_model_that_keeps_the_interpreters_lock(faulty: ServerProcess) -> None:
    """Its own requests wait; others are served; who gives up is let go at once."""
    revive(faulty)
    with unharmed(faulty), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(fault, faulty, "GIL")
        faulty.wait_log("keeps the lock")
        began = time.monotonic()
        for _ in range(20):
            assert constant(faulty, "other") == 5
        assert faulty.is_ready()
        assert time.monotonic() - began < 2
        assert asked.result(timeout=20).status == 200


def test_a_stopped_model_and_its_continuation(faulty: ServerProcess) -> None:
    revive(faulty)
    stub = int(fault(faulty, "None").json["outputs"][0]["data"][0])
    with unharmed(faulty), ThreadPoolExecutor(2) as pool:
        asked = pool.submit(fault, faulty, "SIGSTOP")
        faulty.wait_until(lambda: process_state(stub) == "T", 10, "to stop")
        behind = pool.submit(fault, faulty, "None")
        assert [constant(faulty, "other") for _ in range(20)] == [5] * 20
        assert not asked.done()
        os.kill(stub, signal.SIGCONT)
        assert asked.result(timeout=20).json["outputs"][0]["data"] == [stub]
        assert behind.result(timeout=20).json["outputs"][0]["data"] == [stub]


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


AT_LOAD = {
    "exits": ("import os; os._exit(9)", "exited with status 9"),
    "sys_exits": ("import sys; sys.exit(4)", "SystemExit: 4"),
    "aborts": ("import os, sys; print('my last words', file=sys.stderr); os.abort()", "SIGABRT"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "recurses": ("f = lambda: f(); f()", "RecursionError"),
    "kills": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
}


@pytest.mark.parametrize("when", ["import", "initialize"])
def test_faults_while_loading(serve: Serve, tmp_path: Path, when: str) -> None:
    for name, (line, _) in AT_LOAD.items():
        method = f"class TritonPythonModel:\n    def initialize(self, args):\n        {line}\n"
        write_model(tmp_path, name, f"{line}\n" if when == "import" else method, CONSTANT_CONFIG)
    write_constant(tmp_path, "other", 5)
    server = serve(tmp_path, options=("--model-control-mode=explicit", "--load-model=other"))
    with unharmed_loading(server), ThreadPoolExecutor(3) as pool:
        asked = {name: pool.submit(ask, server, "POST", f"/v2/repository/models/{name}/load") for name in AT_LOAD}
        for name, (_, says) in AT_LOAD.items():
            answer = asked[name].result(timeout=60)
            assert answer.status == 400
            assert says in answer.error
            assert index(server)[name, "1"]["state"] == "UNAVAILABLE"
            assert says in index(server)[name, "1"]["reason"]
        assert "my last words" in asked["aborts"].result().error


@contextmanager
def unharmed_loading(server: ServerProcess) -> Iterator[None]:
    descriptors = proc.descriptors(server.pid)
    yield
    assert constant(server, "other") == 5
    assert len(proc.stubs(server.pid)) == 1
    server.wait_until(lambda: proc.descriptors(server.pid) <= descriptors + 2, 10, "to close what the dead have left")


@pytest.mark.parametrize("line", ["import os; os._exit(9)", "import sys; sys.exit(4)", "raise ValueError('no')"])
def test_faults_in_finalize(serve: Serve, tmp_path: Path, line: str) -> None:
    source = (
        f"class TritonPythonModel:\n    def execute(self, requests): ...\n    def finalize(self):\n        {line}\n"
    )
    write_model(tmp_path, "last", source, CONSTANT_CONFIG)
    serve(tmp_path).stop(timeout=5)


def test_the_memory_of_the_dead_comes_back(serve: Serve, tmp_path: Path) -> None:
    """Requests of 16 MB to a model that dies of each: nothing of them stays in the server."""
    copy_model(tmp_path, "identity")
    write_model(tmp_path, "dying", "import os\nclass TritonPythonModel:\n    def execute(self, _): os._exit(1)\n", (
        'backend: "python"\ninput { name: "IN" data_type: TYPE_UINT8 dims: [ -1 ] }\n'
        'output { name: "OUT" data_type: TYPE_UINT8 dims: [ -1 ] }\n'
    ))  # fmt: skip
    server = serve(tmp_path, options=("--model-control-mode=explicit", "--load-model=*"))
    size = 16 << 20
    described = {"name": "IN", "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [described]}).encode()
    lengths = {"Inference-Header-Content-Length": str(len(header))}

    def die() -> None:
        if not is_ready(server, "dying"):
            assert ask(server, "POST", "/v2/repository/models/dying/load").status == 200
        answer = ask(server, "POST", "/v2/models/dying/infer", header + bytes(size), lengths)
        assert answer.status in {500, 503}

    die()
    before = shared(server.pid)
    for _ in range(6):
        die()
    server.wait_until(lambda: shared(server.pid) - before < 3 * size, 15, "to give memory back")


def shared(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssShmem:", "RssAnon:")))
