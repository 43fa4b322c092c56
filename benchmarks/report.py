"""What was measured, as a page of Markdown."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

GIBIBYTE = 1 << 30


class Sample(NamedTuple):
    """One turn under load: answers a second, and seconds of latency and of processor time a request."""

    rate: float
    p50: float
    p99: float
    cpu: float


class Start(NamedTuple):
    """One start: seconds until ready, and bytes of memory of the whole process tree then."""

    ready: float
    memory: float


class Figure(NamedTuple):
    """A workload's samples by server, the one to compare with first; `notes` say who was not measured and why."""

    name: str
    title: str
    samples: dict[str, list[Sample]] | dict[str, list[Start]]
    notes: Sequence[str] = ()


class Column(NamedTuple):
    """A column of a table: its head, how a sample's value is got, its factor, and its digits after the point."""

    head: str
    value: Callable[..., float]
    factor: float
    digits: int


LOAD_COLUMNS = (
    Column("requests/s", lambda sample: sample.rate, 1, 0),
    Column("p50 ms", lambda sample: sample.p50, 1e3, 2),
    Column("p99 ms", lambda sample: sample.p99, 1e3, 2),
    Column("CPU µs/request", lambda sample: sample.cpu, 1e6, 1),
)
START_COLUMNS = (
    Column("ready after s", lambda start: start.ready, 1, 2),
    Column("memory MiB", lambda start: start.memory, 1 / (1 << 20), 0),
)


def machine() -> list[str]:
    """The machine, and how busy it is before the run."""
    cpus = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    system = f"{platform.system()} {platform.release()}, {platform.python_implementation()} {platform.python_version()}"
    commit = _first_line("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    return [
        f"{datetime.date.today()}, commit {commit}",
        f"{len(os.sched_getaffinity(0))} CPUs ({cpus[0] if cpus else platform.machine()}), {memory:.0f} GiB of memory",
        system,
        f"load average before the run: {os.getloadavg()[0]:.2f}; load generators on the same CPUs",
        f"{_first_line('wrk', '-v')}; {_first_line('h2load', '--version')}",
    ]


def render(about: Sequence[str], figures: Sequence[Figure], rounds: int, seconds: int) -> str:
    """The page."""
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks.compare --write`; see the module for how it measures.",
        "",
    ]
    lines += [f"- {line}" for line in about]
    lines += [
        f"- {rounds} rounds, {seconds} s a turn, servers in turns; medians, in brackets the range over the rounds"
    ]
    lines += ["- ratios are of medians; CPU is that of the server's whole process tree", ""]
    for figure in figures:
        lines += [f"## {figure.name}", "", figure.title + ".", "", *table(figure), ""]
    return "\n".join(lines)


def table(figure: Figure) -> list[str]:
    """The figure's table, and its notes. The last column says how many times faster the first server is."""
    names = list(figure.samples)
    starts = any(isinstance(sample, Start) for samples in figure.samples.values() for sample in samples)
    columns = START_COLUMNS if starts else LOAD_COLUMNS
    rows = [["server", *(column.head for column in columns), f"{names[0]} is faster by" if names else ""]]
    first = 0.0
    for name, samples in figure.samples.items():
        middle = statistics.median(map(columns[0].value, samples))
        first = first or middle
        ratio = middle / first if starts else first / middle
        rows.append([name, *(cell(column, list(map(column.value, samples))) for column in columns), f"{ratio:.2f}"])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" + "|--:" * (len(columns) + 1) + "|")
    return lines + [f"\nNot measured: {note}" for note in figure.notes]


def cell(column: Column, values: list[float]) -> str:
    """Median, and the range in brackets."""
    middle, low, high = (
        f"{value * column.factor:,.{column.digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low}-{high})"


def _first_line(*command: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return f"no {command[0]}"
    return " ".join(said.splitlines()[0].split()[:3]) if said else command[0]
