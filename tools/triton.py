"""The real Triton Inference Server with its Python backend, from PyPI: the oracle for behaviour, the peer for speed.

The wheel carries the server (2.51, CPU: HTTP, gRPC, metrics, ensembles, the Python backend) and a stub for each Python.
It is installed once, about a minute, into a virtual environment of its own in the cache folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tools.environments import environment
from tools.process import ServerProcess

REQUIREMENT = "nvidia-pytriton==0.7.0"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class TritonServer(ServerProcess):
    """Triton on `repositories`, with its Python backend and ours from `backends` (folders) beside it."""

    def __init__(
        self, *repositories: Path, options: Sequence[str] = (), backends: Sequence[Path] = (), name: str = "triton"
    ) -> None:
        folder = environment(f"triton-{sys.version_info[0]}.{sys.version_info[1]}", [REQUIREMENT])
        self._backends = tempfile.TemporaryDirectory(prefix="triton-backends-")
        site = Path(self._ask(folder, 'sysconfig.get_path("purelib")'))
        home = site / "pytriton/tritonserver"
        version = self._ask(folder, "sysconfig.get_python_version()")
        python = Path(self._backends.name, "python")
        shutil.copytree(home / "backends/python", python)
        shutil.copy(home / "python_backend_stubs" / version / "triton_python_backend_stub", python)
        for backend in backends:
            shutil.copytree(backend, Path(self._backends.name, backend.name))
        command = [str(home / "bin/tritonserver"), f"--backend-directory={self._backends.name}"]
        command += [f"--cache-directory={home / 'caches'}"]
        command += [f"--model-repository={repository}" for repository in repositories]
        for service, port in zip(("http", "grpc", "metrics"), free_ports(3), strict=True):
            command += [f"--{service}-address=127.0.0.1", f"--{service}-port={port}"]
        libraries = [self._ask(folder, 'sysconfig.get_config_var("LIBDIR")'), str(site / "nvidia_pytriton.libs")]
        env = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": ":".join([*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]),
            "PYTHONHOME": self._ask(folder, "sys.base_prefix"),
            "PYTHONPATH": str(site),
        }
        super().__init__([*command, *options], name, env)

    def stop(self, timeout: float = 40) -> None:
        """As for any server; the copied backends go with it."""
        try:
            super().stop(timeout)
        finally:
            self._backends.cleanup()

    def kill(self) -> None:
        """As for any server; the copied backends go with it."""
        super().kill()
        self._backends.cleanup()

    @staticmethod
    def _ask(folder: Path, expression: str) -> str:
        program = f"import sys, sysconfig; print({expression})"
        return subprocess.run(
            [str(folder / "bin/python"), "-c", program], check=True, capture_output=True, text=True
        ).stdout.strip()
