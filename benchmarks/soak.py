"""Full load for minutes, while models' processes are killed: `python -m benchmarks.soak --minutes 10 --kill-every 5`.

Two halves: one undisturbed, whose memory, descriptors, threads and blocks of shared memory have to come back to where
they were; and one in which a process of the model is killed every few seconds, which may lose what it was executing
and nothing else. The exit status is 1 where either does not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import urllib.request
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import Load, h2load, wrk
from benchmarks.peers import MODELS
from benchmarks.peers.peer import V2Peer, check
from benchmarks.workloads.workload import Workload, floats
from tools import proc
from tools.process import ServerProcess, pyserver_command

CONNECTIONS = 16
HTTP = Workload("soak-http", "", "http", "binary", "identity_fp32", floats(16), CONNECTIONS)
LARGE = Workload("soak-large", "", "http", "binary", "identity_fp32", floats(1 << 18), 2)
GRPC = Workload("soak-grpc", "", "grpc", "proto", "identity_fp32", floats(16), 1, 8)
WARM_UP = 10
SLACK_BYTES = 8 << 20
"""How much more memory the server may hold after minutes of load: what an allocator keeps."""
BEGUN = 2
"""Requests that a process has begun or that lie ready for it: what a kill may lose."""


class State(NamedTuple):
    """What a server holds: bytes (of itself, and of its whole tree), descriptors, threads, requests that wait."""

    own: int
    tree: int
    descriptors: int
    threads: int
    waiting: int

    def __str__(self) -> str:
        sizes = f"{self.own / 1e6:.1f} MB, tree {self.tree / 1e6:.1f} MB"
        return f"{sizes}, {self.descriptors} descriptors, {self.threads} threads, {self.waiting} waiting"


def main() -> int:
    """Run both halves; 1 if something was lost or has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of the undisturbed half (default: 10)")
    parser.add_argument("--kill-minutes", type=float, default=2, help="of the other half (default: 2)")
    parser.add_argument("--kill-every", type=float, default=5, metavar="SECONDS", help="(default: 5)")
    given = parser.parse_args()
    with ServerProcess(pyserver_command(MODELS), "pyserver") as server:
        faults = undisturbed(server, int(given.minutes * 60))
        faults += disturbed(server, int(given.kill_minutes * 60), given.kill_every)
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def undisturbed(server: ServerProcess, seconds: int) -> list[str]:
    """Load of three kinds at once; what has grown."""
    load_all(server, WARM_UP)
    before = state(server)
    print(f"before: {before}", flush=True)
    for load in load_all(server, seconds):
        print(f"{load.requests:,} requests in {load.seconds:.0f} s, {load.rate:,.0f}/s, p99 {load.p99 * 1e3:.2f} ms")
    after = state(server)
    print(f"after:  {after}", flush=True)
    grown = [
        ("memory", after.own - before.own, SLACK_BYTES),
        ("memory of the tree", after.tree - before.tree, SLACK_BYTES),
        ("descriptors", after.descriptors - before.descriptors, 0),
        ("threads", after.threads - before.threads, 0),
        ("waiting requests", after.waiting, 0),
    ]
    return [f"{name} grew by {more:,}" for name, more, allowed in grown if more > allowed]


def disturbed(server: ServerProcess, seconds: int, every: float) -> list[str]:
    """Load of small requests while the model's process is killed now and then; what else was lost."""
    before, stopping, killed = state(server), threading.Event(), []

    def kill() -> None:
        while not stopping.wait(every):
            for stub in proc.stubs(server.pid):
                if HTTP.model in proc.command_line(stub):
                    os.kill(stub, signal.SIGKILL)
                    killed.append(stub)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        load = run(server, HTTP, seconds, tolerated=10**6)
    finally:
        stopping.set()
        killer.join()
    check(V2Peer("pyserver", server), HTTP)
    after = state(server)
    print(f"{len(killed)} processes killed: {load.errors} of {load.requests:,} requests failed; then {after}")
    faults = []
    if load.errors > BEGUN * len(killed):
        faults.append(f"{load.errors} requests failed, and no more than {BEGUN * len(killed)} had been begun")
    if after.descriptors > before.descriptors or after.threads > before.threads:
        faults.append(f"after kills there are {after}, before there were {before}")
    return faults


def load_all(server: ServerProcess, seconds: int) -> list[Load]:
    """Small and large requests over REST, and gRPC, side by side."""
    found: list[Load] = []
    threads = [
        threading.Thread(target=lambda work=work: found.append(run(server, work, seconds)))
        for work in (HTTP, LARGE, GRPC)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < len(threads):
        raise SystemExit("a load has failed")
    return found


def run(server: ServerProcess, workload: Workload, seconds: int, tolerated: int = 0) -> Load:
    """One load, after one request whose answer is checked."""
    peer = V2Peer("pyserver", server)
    size, request = check(peer, workload), peer.request(workload)
    if workload.protocol == "grpc":
        return h2load(server.grpc, request.body, size, workload.connections, workload.streams, seconds)
    url = f"http://{server.http}{request.path}"
    return wrk(url, request.body, request.headers, workload.connections, seconds, tolerated)


def state(server: ServerProcess) -> State:
    """What it holds now, with nobody connected but who asks for its metrics."""
    tree = proc.tree_pss_bytes(server.pid)
    own = proc.pss_bytes(server.pid)
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    waiting = sum(
        int(float(value)) for value in re.findall(r"^nv_inference_pending_request_count{.*} (\S+)$", text, re.M)
    )
    return State(own, tree, proc.descriptors(server.pid), proc.threads(server.pid), waiting)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
