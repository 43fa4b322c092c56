"""LitServe: FastAPI in front of one worker process, JSON in and out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.peers.peer import NotOfferedError, Request
from benchmarks.workloads.workload import Array, Workload
from tools.environments import environment
from tools.process import ForeignProcess, ServerProcess
from tools.triton import free_ports

REQUIREMENTS = ["litserve==0.2.19", "numpy"]
PROGRAM = """
import sys
import litserve
import numpy as np


class Identity(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return np.array(request["input"], np.float32)

    def predict(self, x):
        return x

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Identity(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
"""


class LitServe(ForeignProcess):
    """The program above on a free port."""

    def __init__(self, folder: Path) -> None:
        home = environment("litserve", REQUIREMENTS)
        (folder / "program.py").write_text(PROGRAM)
        (self._port,) = free_ports(1)
        super().__init__([str(home / "bin/python"), str(folder / "program.py"), str(self._port)], "litserve")

    def wait_listening(self, timeout: float = 60) -> None:
        """Its port is ours."""
        self.addresses = {"HTTPService": f"127.0.0.1:{self._port}"}

    def is_ready(self) -> bool:
        """Its own health route."""
        return self.get("/health")[0] == 200


class LitServePeer:
    """A list of numbers in a JSON object."""

    def __init__(self, name: str, process: ServerProcess) -> None:
        self.name = name
        self.process = process

    def request(self, workload: Workload) -> Request:
        """The numbers of an FP32 tensor."""
        if workload.form != "json" or workload.datatype != "FP32" or not workload.is_identity:
            raise NotOfferedError("LitServe is asked for FP32 numbers in JSON only")
        body = json.dumps({"input": workload.array().ravel().tolist()}).encode()
        return Request(body, "/predict", {"Content-Type": "application/json"})

    def read(self, workload: Workload, headers: dict[str, str], body: bytes) -> Array:
        """The numbers of an FP32 tensor."""
        return np.array(json.loads(body)["output"], np.float32)
