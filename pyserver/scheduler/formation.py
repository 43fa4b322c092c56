"""Which sequences' requests run together: the two strategies of the sequence batcher."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from pyserver.payload import Pending
from pyserver.scheduler.slots import Lane, Sequence
from pyserver.types import InferRequest


@dataclass(frozen=True, slots=True)
class SequencePolicy:
    """How sequences are batched (ModelSequenceBatching).

    Each executor has `slots`; a batch has at most `max_rows` rows (each one request of another sequence). `direct`:
    slot n is row n, gaps are filled, and a batch waits for `max_delay_ns` at most while fewer than `utilization` of the
    slots are ready. Otherwise the oldest requests go together: `goal` of them at once, fewer after `max_delay_ns`.
    A sequence that rests for `idle_ns` is over. With `iterative` each request is a sequence of its own.
    """

    slots: int
    max_rows: int
    idle_ns: int
    direct: bool = True
    max_delay_ns: int = 0
    utilization: float = 0.0
    goal: int = 1
    preserve_ordering: bool = False
    iterative: bool = False


class Formed(NamedTuple):
    """The sequences that go together, by rows; or none, and when (0 for never) to look again."""

    sequences: list[Sequence]
    wait_until: int = 0


NOTHING = Formed([])
BatchKey = Callable[[InferRequest], Hashable]
Ready = list[tuple[Pending, Sequence]]


def form(lane: Lane, policy: SequencePolicy, key: BatchKey, now_ns: int, busy: bool) -> Formed:
    """The next batch of `lane`; a `busy` one is given no batch that may still grow."""
    ready: Ready = [(head, found) for found in lane.slots if found is not None and (head := found.head) is not None]
    if not ready:
        return NOTHING
    oldest = min(ready, key=_arrival)[0]
    if len(ready) > 1:
        wanted = key(oldest.request)
        ready = [entry for entry in ready if entry[0] is oldest or key(entry[0].request) == wanted]
    if busy and len(ready) < policy.max_rows:
        return NOTHING
    if len(ready) < _enough(policy) and now_ns < oldest.arrived_ns + policy.max_delay_ns:
        return Formed([], oldest.arrived_ns + policy.max_delay_ns)
    if not policy.direct:
        ready.sort(key=_arrival)
        del ready[policy.max_rows :]
    return Formed([sequence for _, sequence in ready])


def _enough(policy: SequencePolicy) -> int:
    """How many ready sequences make waiting for more pointless."""
    if policy.direct:
        return max(1, math.ceil(policy.utilization * policy.slots))
    return min(policy.goal, policy.slots)


def _arrival(entry: tuple[Pending, Sequence]) -> int:
    return entry[0].arrived_ns
