"""Ten thousand connections that rest: what each costs the server, and the clients that don't."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Serve
from tests.support.clients import tensor
from tests.support.raw import Raw
from tests.support.repositories import MODELS
from tools import proc
from tools.process import ServerProcess

pytestmark = [pytest.mark.ours, pytest.mark.heavy, pytest.mark.timeout(300)]
CONNECTIONS = 10_000
MOST_BYTES = 20 * 1024
MOST_SLOWDOWN = 1.5
SAMPLES, ROUNDS = 1500, 6
BODY = json.dumps({"inputs": [tensor(name, "FP32", [4], [1, 2, 3, 4]) for name in ("INPUT0", "INPUT1")]}).encode()


@pytest.fixture
def two(serve: Serve) -> tuple[ServerProcess, ServerProcess]:
    """Alike; what else the machine does is the same for both, when they are asked in turns."""
    options = ("--model-control-mode=explicit", "--load-model=add_sub", "--http-max-connections=12000")
    return serve(MODELS, options=options), serve(MODELS, options=options)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 1000:
        pytest.skip(f"only {hard} files may be open (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def p99(server: ServerProcess) -> float:
    """Of one client's inferences, seconds."""
    connection = http.client.HTTPConnection(server.http, timeout=20)
    taken = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        connection.request("POST", "/v2/models/add_sub/infer", BODY)
        assert connection.getresponse().read()
        taken.append(time.perf_counter() - began)
    connection.close()
    return sorted(taken)[int(SAMPLES * 0.99)]


@pytest.mark.usefixtures("many_files")
def test_ten_thousand(two: tuple[ServerProcess, ServerProcess]) -> None:
    crowded, lonely = two
    host, _, port = crowded.http.rpartition(":")
    for server in two:
        p99(server)
    before = proc.rss_bytes(crowded.pid)
    idle = []
    try:
        for number in range(CONNECTIONS):
            made = socket.create_connection((host, int(port)), timeout=20)
            idle.append(made)
            if number % 2:  # half of them have asked something
                made.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
                assert made.recv(1000).startswith(b"HTTP/1.1 200")
        crowded.wait_until(lambda: proc.descriptors(crowded.pid) > CONNECTIONS, 20, "to have them all")
        cost = (proc.rss_bytes(crowded.pid) - before) / CONNECTIONS
        alone, among = map(min, zip(*((p99(lonely), p99(crowded)) for _ in range(ROUNDS)), strict=True))
        print(f"{cost:.0f} bytes a connection; p99 {1e3 * alone:.2f} ms alone, {1e3 * among:.2f} ms among them")
        assert cost <= MOST_BYTES
        assert among <= MOST_SLOWDOWN * alone
        # Beyond the limit there is an answer, and room again when others go.
        more = [Raw(crowded) for _ in range(2010)]
        assert more[-1].answer()[0] == 503
        for raw in more:
            raw.socket.close()
    finally:
        for each in idle:
            each.close()
    crowded.wait_until(lambda: proc.descriptors(crowded.pid) < 200, 30, "to forget them")
    p99(crowded)
