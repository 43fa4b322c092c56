"""MLServer, in an environment of its own: identity runtimes, and the folder that pyserver serves as well.

One worker process beside the server, which is its default.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.mlserver_folder import write_folder
from benchmarks.peers.peer import NotOfferedError, Request, V2Peer
from benchmarks.workloads.workload import Workload
from tools.environments import environment
from tools.process import ForeignProcess
from tools.triton import free_ports

REQUIREMENTS = ["mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop<0.22"]
RUNTIME = """
import time

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Identity(MLModel):
    async def predict(self, payload):
        (given,) = payload.inputs
        codec = StringCodec if given.datatype == "BYTES" else NumpyCodec
        output = codec.encode_output("OUTPUT", codec.decode_input(given))
        return InferenceResponse(model_name=self.name, outputs=[output])


class Slow(Identity):
    async def predict(self, payload):
        time.sleep(0.005)  # as benchmarks/models/batch_fp32: however many rows are asked for together
        return await super().predict(payload)
"""
BATCHES = {"max_batch_size": 64, "max_batch_time": 0.002}
SETTINGS: dict[str, dict[str, object]] = {
    "identity_fp32": {"implementation": "runtime.Identity"},
    "identity_bytes": {"implementation": "runtime.Identity"},
    "batch_fp32": {"implementation": "runtime.Slow", **BATCHES},
}


def _same(package: str) -> list[str]:
    """The package in the version that is installed here, if it is: what one version stored the same one reads."""
    try:
        return [f"{package}=={version(package)}"]
    except PackageNotFoundError:
        return []


class MLServer(ForeignProcess):
    """`mlserver start` on a folder with its models."""

    def __init__(self, folder: Path) -> None:
        home = environment("mlserver-sklearn", [*REQUIREMENTS, *_same("scikit-learn")])
        self._ports = free_ports(3)
        http, grpc, metrics = self._ports
        ports = {"MLSERVER_HTTP_PORT": http, "MLSERVER_GRPC_PORT": grpc, "MLSERVER_METRICS_PORT": metrics}
        write_folder(folder)
        for name, model in SETTINGS.items():
            (folder / name).mkdir()
            (folder / name / "runtime.py").write_text(RUNTIME)
            (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
        env = {name: str(port) for name, port in ports.items()}
        super().__init__([str(home / "bin/mlserver"), "start", str(folder)], "mlserver", env)

    def wait_listening(self, timeout: float = 60) -> None:
        """It says nothing of use: its ports are ours, and readiness is asked for."""
        http, grpc, metrics = (f"127.0.0.1:{port}" for port in self._ports)
        self.addresses = {"HTTPService": http, "GRPCInferenceService": grpc, "Metrics Service": metrics}


class MLServerPeer(V2Peer):
    """V2 without the binary extension for REST."""

    def request(self, workload: Workload) -> Request:
        """As of any V2 server, but for the binary extension."""
        if workload.form == "binary":
            raise NotOfferedError("MLServer has no binary extension")
        return super().request(workload)
