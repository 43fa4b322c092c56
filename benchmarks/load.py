"""Load from compiled generators: wrk for HTTP/1.1, h2load for gRPC. A Python client would measure itself."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"

# The body comes from a file. `done` prints what is read back: counts, microseconds.
LUA = """
wrk.method = "POST"
%(headers)s
local file = io.open("%(body)s", "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"""


class Load(NamedTuple):
    """What one run of a generator saw: answers, seconds, and the 50th and 99th percentile of latency in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


class LoadError(Exception):
    """The generator is not there, or some of its requests were not answered rightly."""


def wrk(url: str, body: bytes, headers: Mapping[str, str], connections: int, seconds: int, tolerated: int = 0) -> Load:
    """POST `body` over `connections` connections, each sending its next request when it has its answer.

    LoadError if more than `tolerated` of them fail.
    """
    with tempfile.TemporaryDirectory(prefix="pyserver-load-") as folder:
        data, script = Path(folder, "body"), Path(folder, "script.lua")
        data.write_bytes(body)
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script.write_text(LUA % {"headers": lines, "body": data})
        said = _run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script), url])
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", said, re.MULTILINE)
    if not found:
        raise LoadError(f"wrk printed no result:\n{said}")
    requests, duration, errors, p50, p99 = map(int, found.groups())
    if errors > tolerated or not requests:
        raise LoadError(f"{errors} of {requests} requests failed:\n{said}")
    return Load(requests, duration / 1e6, p50 / 1e6, p99 / 1e6, errors)


def h2load(address: str, message: bytes, answer_size: int, connections: int, streams: int, seconds: int) -> Load:
    """Call ModelInfer with the encoded `message`, `streams` calls at a time on each of `connections` connections.

    A failed call has the HTTP status 200 as well, but no message: the bytes received have to be those of answers
    with `answer_size` bytes each.
    """
    with tempfile.TemporaryDirectory(prefix="pyserver-load-") as folder:
        data, log = Path(folder, "body"), Path(folder, "log")
        data.write_bytes(frame(message))
        command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", "-d", str(data)]
        command += ["-w24", "-W24", f"--log-file={log}"]  # windows of 16 MB: no waiting for credit
        for header in ("content-type: application/grpc", "te: trailers"):
            command += ["-H", header]
        said = _run([*command, f"http://{address}{GRPC_PATH}"])
        latencies = [int(line.split("\t")[2]) / 1e6 for line in log.read_text().splitlines()]
    done, good = _number(r"requests: .* (\d+) done", said), _number(r"status codes: (\d+) 2xx", said)
    received = _number(r"traffic: .* \((\d+)\) data", said)
    if not latencies or good < done or received < done * (answer_size + 5):
        raise LoadError(f"of {done} calls {good} had status 200; {received} bytes of {answer_size} each:\n{said}")
    cuts = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return Load(done, seconds, cuts[49], cuts[98])


def frame(message: bytes) -> bytes:
    """A gRPC message as it stands in a stream: a flag, its length in four bytes, itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _run(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        raise LoadError(f"{command[0]} is not installed: on Debian, apt-get install wrk nghttp2-client")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
