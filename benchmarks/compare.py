"""Measures pyserver beside its peers, in one run on one machine, and prints medians, ranges and ratios.

`python -m benchmarks.compare` starts pyserver and the real Triton; --peers takes others. Each workload is measured in
rounds in which every server has its turn; a server that does not give the right answer is not measured but named. The
first workload is also measured against a second pyserver: how far the two differ is the noise (A/A).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import LoadError
from benchmarks.peers import PEERS
from benchmarks.peers.peer import NotOfferedError, Peer, check, measure
from benchmarks.report import Figure, Sample, machine, render
from benchmarks.start import measure_start
from benchmarks.workloads import SHORT, WORKLOADS
from benchmarks.workloads.workload import Workload
from tools import proc
from tools.process import ServerProcessError

RESULTS = Path(__file__).parent / "RESULTS.md"


class Plan(NamedTuple):
    """How much is measured: the workloads, rounds each, seconds a turn, and models for the start figures."""

    workloads: tuple[str, ...]
    rounds: int
    seconds: int
    starts: tuple[int, ...]


FULL = Plan(tuple(WORKLOADS), 5, 4, (1, 20))
BRIEF = Plan(SHORT, 3, 2, (1,))
WARM_UP_SECONDS = 1


def compare(names: list[str], plan: Plan, noise: bool) -> list[Figure]:
    """Run all workloads of `plan` on the peers `names`; with `noise` on a second process of the first as well."""
    with ExitStack() as stack:
        titles = [name if name not in names[:place] else f"{name} ({place + 1})" for place, name in enumerate(names)]
        peers = [started(name, stack, title) for name, title in zip(names, titles, strict=True)]
        figures = []
        if noise:
            with ExitStack() as pair:
                again = [peers[0], started(names[0], pair, f"{names[0]} (again)")]
                figures.append(run(WORKLOADS[plan.workloads[0]], again, plan, "A/A: "))
        figures += [run(WORKLOADS[name], peers, plan) for name in plan.workloads]
    return figures + [measure_start(names, models, plan.rounds) for models in plan.starts]


def started(name: str, stack: ExitStack, title: str) -> Peer:
    """Start the peer `name`; it ends with `stack`."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-"))
    peer = PEERS[name](Path(folder))
    peer.name = title
    print(f"starting {peer.name} ...", file=sys.stderr, flush=True)
    stack.enter_context(running(peer))
    return peer


@contextmanager
def running(peer: Peer) -> Iterator[None]:
    """Start the peer, and end it; how it ends is told, and costs nobody the figures."""
    peer.process.start()
    try:
        yield
    except BaseException:
        peer.process.kill()
        raise
    try:
        peer.process.stop()
    except ServerProcessError as error:
        peer.process.kill()
        print(error, file=sys.stderr, flush=True)


def run(workload: Workload, peers: list[Peer], plan: Plan, prefix: str = "") -> Figure:
    """One workload on every peer that offers it, in turns; one that fails under it is named instead."""
    sizes, notes = {}, []
    for peer in peers:
        try:
            sizes[peer.name] = check(peer, workload)
        except NotOfferedError as reason:
            notes.append(str(reason))
    samples: dict[str, list[Sample]] = {name: [] for name in sizes}
    able = [peer for peer in peers if peer.name in sizes]
    for round_number in range(-1, plan.rounds):
        for peer in able.copy():
            print(f"{prefix}{workload.name}: {peer.name}, round {round_number + 1}", file=sys.stderr, flush=True)
            seconds = plan.seconds if round_number >= 0 else WARM_UP_SECONDS
            try:
                sample = take(peer, workload, sizes[peer.name], seconds)
            except LoadError as error:
                notes.append(f"{peer.name} failed: {str(error).splitlines()[0]}")
                able.remove(peer)
                del samples[peer.name]
                continue
            if round_number >= 0:
                samples[peer.name].append(sample)
        able = able[1:] + able[:1]  # whoever went first goes last
    return Figure(prefix + workload.name, workload.title, samples, notes)


def take(peer: Peer, workload: Workload, answer_size: int, seconds: int) -> Sample:
    """One turn: the load, and the processor time that the server's whole process tree used for it."""
    before = proc.tree_cpu_seconds(peer.process.pid)
    load = measure(peer, workload, answer_size, seconds)
    used = proc.tree_cpu_seconds(peer.process.pid) - before
    return Sample(load.rate, load.p50, load.p99, used / load.requests)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="compare", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--servers", default="pyserver", help="whom the others are compared with, comma-separated")
    parser.add_argument("--peers", default="triton", help=f"comma-separated, of {', '.join(PEERS)}")
    parser.add_argument("--workloads", help=f"comma-separated, of {', '.join(WORKLOADS)}")
    parser.add_argument("--short", action="store_true", help="a few workloads, a few seconds each")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each turn")
    parser.add_argument("--no-noise", action="store_true", help="leave out the A/A run")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(Path.cwd())}")
    given = parser.parse_args()
    plan = BRIEF if given.short else FULL
    if given.workloads:
        plan = plan._replace(workloads=tuple(given.workloads.split(",")), starts=())
    plan = plan._replace(rounds=given.rounds or plan.rounds, seconds=given.seconds or plan.seconds)
    names = [name for name in f"{given.servers},{given.peers}".split(",") if name]
    before = machine()
    text = render(before, compare(names, plan, not given.no_noise), plan.rounds, plan.seconds)
    print(text)
    if given.write:
        RESULTS.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
