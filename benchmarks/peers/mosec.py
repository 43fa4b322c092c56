"""mosec: a Rust front end and one Python worker, bare bytes in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.peer import NotOfferedError, Request
from benchmarks.workloads.workload import Array, Workload
from tools.environments import environment
from tools.process import ForeignProcess, ServerProcess
from tools.triton import free_ports

REQUIREMENTS = ["mosec==0.9.8", "numpy"]
PROGRAM = """
import numpy as np
from mosec import Server, Worker


class Identity(Worker):
    def deserialize(self, data):
        return np.frombuffer(data, np.float32)

    def serialize(self, data):
        return data.tobytes()

    def forward(self, data):
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Identity, num=1)
    server.run()
"""


class Mosec(ForeignProcess):
    """The program above on a free port."""

    def __init__(self, folder: Path) -> None:
        home = environment("mosec", REQUIREMENTS)
        (folder / "program.py").write_text(PROGRAM)
        (self._port,) = free_ports(1)
        where = ["--address", "127.0.0.1", "--port", str(self._port), "--path", str(folder / "mosec.sock")]
        limits = ["--max-request-size", str(256 << 20), "--timeout", "60000"]
        super().__init__([str(home / "bin/python"), str(folder / "program.py"), *where, *limits], "mosec")

    def wait_listening(self, timeout: float = 60) -> None:
        """Its port is ours."""
        self.addresses = {"HTTPService": f"127.0.0.1:{self._port}"}

    def is_ready(self) -> bool:
        """It has no readiness but an answer."""
        return self.get("/")[0] == 200


class MosecPeer:
    """A tensor's bare bytes."""

    def __init__(self, name: str, process: ServerProcess) -> None:
        self.name = name
        self.process = process

    def request(self, workload: Workload) -> Request:
        """The bytes of an FP32 tensor."""
        if workload.form != "binary" or workload.datatype != "FP32" or not workload.is_identity:
            raise NotOfferedError("mosec is asked for bare FP32 tensors only")
        return Request(workload.array().tobytes(), "/inference", {"Content-Type": "application/octet-stream"})

    def read(self, workload: Workload, headers: dict[str, str], body: bytes) -> Array:
        """The bytes of an FP32 tensor."""
        return np.frombuffer(body, np.float32)
