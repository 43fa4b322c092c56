"""The real MLServer, the questions that it and we are asked, and where our answers are meant to be others."""

# ruff: noqa: E501 (a table)
from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.parity.comparing import Difference
from tests.support.clients import ask, tensor
from tests.support.runtimes import RUNTIMES
from tools import proc
from tools.environments import environment
from tools.process import ForeignProcess, ServerProcess
from tools.triton import free_ports

REQUIREMENTS = ["mlserver==1.7.1", "uvloop<0.22", "pandas<3"]


class RealMLServer(ForeignProcess):
    """`mlserver start` on `folder`, in an environment of its own, with one worker."""

    def __init__(self, folder: Path) -> None:
        home = environment("mlserver-pandas", REQUIREMENTS)
        self._ports = free_ports(3)
        http, grpc, metrics = self._ports
        settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "debug": False}
        (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 1}))
        super().__init__([str(home / "bin/mlserver"), "start", str(folder)], "mlserver", cwd=folder)

    def wait_listening(self, timeout: float = 60) -> None:
        """Its ports are ours, and readiness is asked for."""
        http, grpc, metrics = (f"127.0.0.1:{port}" for port in self._ports)
        self.addresses = {"HTTPService": http, "GRPCInferenceService": grpc, "Metrics Service": metrics}

    def stop(self, timeout: float = 20) -> None:
        """Its resource tracker, which outlives it, is given the time to remove its semaphores."""
        family = proc.tree(self.pid)
        self.terminate()
        self.exited(timeout)
        deadline = time.monotonic() + timeout
        while any(map(proc.alive, family)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()


def write_folder(folder: Path, name: str, kind: str, **settings: Any) -> None:
    """A model of tests/models_mlserver as MLServer wants it."""
    target = folder / name
    target.mkdir(parents=True)
    shutil.copy(RUNTIMES / "runtimes.py", target / f"{name}_runtimes.py")
    said = {"name": name, "implementation": f"{name}_runtimes.{kind}", **settings}
    (target / "model-settings.json").write_text(json.dumps(said))


class Exchange(NamedTuple):
    """A question: `body` is JSON text, or what becomes it."""

    name: str
    model: str
    body: Any
    route: str = "infer"

    def ask(self, server: ServerProcess) -> dict[str, Any]:
        """Status, the headers that are the protocol's, and the body."""
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        path = f"/v2/models/{self.model}/{self.route}" if self.route else f"/v2/models/{self.model}"
        method = "POST" if self.route else "GET"
        headers = {"Content-Type": "application/json", "X-Asked": "yes"}
        answer = ask(server, method, path, body if self.route else b"", headers)
        kept = {key: value for key, value in answer.headers.items() if key.startswith(("ce-", "x-", "content-type"))}
        return {"status": answer.status, "headers": kept, "json": _read(answer.body)}


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        events = [part.removeprefix(b"data: ") for part in body.split(b"\n\n") if part.startswith(b"data: ")]
        return [json.loads(event) for event in events] if events else body.decode()


def _one(datatype: str, shape: list[int], data: Any, **parameters: Any) -> dict[str, Any]:
    made = tensor("x", datatype, shape, data)
    return {"id": "q", "inputs": [{**made, "parameters": parameters} if parameters else made]}


_COLUMNS = [
    tensor("n", "FP64", [2, 1], [1.5, None]),
    tensor("k", "INT32", [2, 1], [1, 2]),
    {**tensor("t", "BYTES", [2, 1], ["u", "v"]), "parameters": {"content_type": "str"}},
]
_HEARD = {
    "id": "q",
    "parameters": {"deep": {"a": [1, 2]}, "priority": 3},
    "inputs": [{**tensor("x", "FP32", [1], [1]), "parameters": {"p": {"q": [None]}}}],
    "outputs": [{"name": "y", "parameters": {"content_type": "str"}}, {"name": "z"}],
}
EXCHANGES = [
    Exchange("metadata", "meta", None, ""),
    Exchange("metadata bare", "echo", None, ""),
    Exchange("np", "meta", _one("FP32", [2, 2], [[1, 2], [3, 4]])),
    Exchange("np vector with null", "meta", _one("FP32", [2], [1, None])),
    Exchange("np strings", "meta", _one("BYTES", [2], ["ab", "cd"])),
    Exchange("np bools", "meta", _one("BOOL", [2], [True, False])),
    Exchange("np of three dims", "meta", _one("INT64", [1, 2, 2], [1, 2, 3, 4])),
    Exchange("np unknown content type", "meta", _one("FP32", [1], [1], content_type="nope")),
    Exchange("np null in integers", "meta", _one("INT32", [2], [1, None])),
    Exchange("np wrong size", "meta", _one("FP32", [3, 2], [1, 2, 3])),
    Exchange("echo", "echo", _one("FP32", [2], [1.5, 2.5], content_type="np", any={"thing": [1, "x"]})),
    Exchange("echo nested", "echo", _one("FP32", [2, 2], [[1.5, 2.5], [3.5, 4.5]])),
    Exchange("echo integers as floats", "echo", _one("FP32", [2], [1, 2])),
    Exchange("echo singles", "echo", _one("FP32", [1], [0.1])),
    Exchange("echo text", "echo", _one("BYTES", [1], "bare")),
    Exchange("echo object", "echo", _one("BYTES", [1], {"a": [1, None]})),
    Exchange("echo mixed", "echo", _one("BYTES", [3], ["a", 1, None])),
    Exchange("echo empty", "echo", {"id": "q", "inputs": []}),
    Exchange("echo empty id", "echo", {"id": "", "inputs": []}),
    Exchange("decode_args", "decoded", {"id": "q", "inputs": [tensor("a", "FP32", [2], [1, 2]), tensor("s", "BYTES", [2], ["x", "y"])]}),
    Exchange("decode_args missing", "decoded", {"id": "q", "inputs": [tensor("a", "FP32", [2], [1, 2])]}),
    Exchange("decode_args too much", "decoded", {"id": "q", "inputs": [tensor(name, "FP32", [1], [1]) for name in ("a", "zz")]}),
    Exchange("frame", "frame", {"id": "q", "inputs": _COLUMNS}),
    Exchange("heard", "heard", _HEARD),
    Exchange("raises", "broken", _one("BYTES", [1], ["other"])),
    Exchange("raises its own", "broken", _one("BYTES", [1], ["client"])),
    Exchange("raises a status", "broken", _one("BYTES", [1], ["status"])),
    Exchange("returns none", "broken", _one("BYTES", [1], ["none"])),
    Exchange("returns bytes", "broken", _one("BYTES", [1], ["bytes"])),
    Exchange("generate", "echo", _one("INT64", [1], [1]), "generate"),
    Exchange("unknown model", "nope", {"inputs": []}),
    Exchange("schema none", "echo", {}),
    Exchange("schema id", "echo", {"id": 5, "inputs": []}),
    Exchange("schema inputs", "echo", {"inputs": {}}),
    Exchange("schema input", "echo", {"inputs": [{"name": "x"}]}),
    Exchange("schema datatype", "echo", _one("FP33", [1], [1])),
    Exchange("schema list", "echo", []),
    Exchange("schema parameters", "echo", {"parameters": 1, "inputs": []}),
    Exchange("bad json", "echo", b"{bad"),
    Exchange("bad json nan", "echo", b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}'),
    Exchange("stream", "streams", _one("INT32", [1], [3]), "infer_stream"),
    Exchange("stream fails", "streams", _one("INT32", [1], [-1]), "infer_stream"),
]  # fmt: skip


def _client_error(ours: Any, theirs: Any) -> bool:
    return (ours, theirs) == (400, 500)


def _without_class(ours: Any, theirs: Any) -> bool:
    return isinstance(theirs, str) and theirs.endswith(f": {ours}")


def _single(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, float) and abs(ours - theirs) < 1e-6


DIFFERENCES = [
    Difference("np null in integers", "status", "a client's mistake is never a 5xx", _client_error),
    Difference("np wrong size", "status", "a client's mistake is never a 5xx", _client_error),
    Difference("decode_args missing", "status", "a client's mistake is never a 5xx", _client_error),
    Difference("returns bytes", "status", "bytes that are no text are the client's to ask for as binary", _client_error),
    Difference("returns bytes", "*", "and the output is named"),
    Difference("np null in integers", "json.error", "an error names the input, what was got and expected"),
    Difference("np wrong size", "json.error", "an error names the input, what was got and expected"),
    Difference("decode_args missing", "json.error", "an error names the input that is missing"),
    Difference("raises its own", "json.error", "what a model means to say comes without its class", _without_class),
    Difference("raises a status", "json.error", "what a model means to say comes without its class", _without_class),
    Difference("decode_args too much", "json.error", "what a model means to say comes without its class", _without_class),
    Difference("echo singles", "json.outputs.0.data.0", "tensors are tensors: a single is no double", _single),
    Difference("unknown model", "json.error", "models of Triton stand beside, and the words are theirs"),
    Difference("heard", "json.outputs.0.data.0", "headers of the connection differ"),
    Difference("echo integers as floats", "json.outputs.0.data.*", "tensors are tensors: what is FP32 is a float", _single),
    Difference("bad json nan", "*", "NaN and Infinity are taken"),
    Difference("*", "headers.ce-source", "the server has a name of its own"),
    Difference("*", "headers.ce-inferenceservicename", "the server has a name of its own"),
    Difference("stream*", "json*headers*", "there a stream runs in the model's process"),
    Difference("stream*", "json*", "with workers MLServer answers a stream by one predict"),
]  # fmt: skip
