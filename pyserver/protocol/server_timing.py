"""Server-Timing (W3C): where the time of one inference went, for who asks by `X-Server-Timing`. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

ASKED = "X-Server-Timing"
HEADER = "Server-Timing"
_NO = ("", "0", "false")


def wanted(value: str | None) -> bool:
    """Whether an X-Server-Timing header of this value asks for it."""
    return value is not None and value.strip().lower() not in _NO


def encode(events: Iterable[tuple[str, int]], together: int, total_ns: int) -> str:
    """The header's value, in milliseconds: waiting in the queue, executed with how many others, copying inputs and
    outputs, computing, and all of it from the request's arrival to its answer.

    `events` are those of a trace (names with monotonic nanoseconds); what never happened is left out: a request that is
    answered from the cache does not compute.
    """
    at = dict(events)
    parts = []
    if "COMPUTE_END" in at:
        started, copied = at["COMPUTE_START"], at["COMPUTE_INPUT_END"]
        computed, ended = at["COMPUTE_OUTPUT_START"], at["COMPUTE_END"]
        parts = [
            _metric("queue", max(0, started - at["QUEUE_START"])),
            f'batch;desc="{together}"',
            _metric("copy", copied - started + ended - computed),
            _metric("compute", computed - copied),
        ]
    return ", ".join([*parts, _metric("total", total_ns)])


def _metric(name: str, ns: int) -> str:
    return f"{name};dur={ns / 1e6:.3f}"
