"""Sequences, and the slots of executors that they hold from their start to their end."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from pyserver.payload import Executor, Pending
from pyserver.types import InferRequest, Tensor


class Sequence:
    """Requests that belong together and run one after another, in order, on one executor.

    `items` wait, `running` runs, as `plain` before the controls were added. `begun` says that a START has been sent,
    `ended` that the last request accepted has END, `steps` how many have been executed. `touched_ns` is when it was
    last of use. It holds slot number `slot` of `lane`, or None, in the backlog.
    """

    __slots__ = (
        "begun",
        "correlation_id",
        "ended",
        "items",
        "key",
        "lane",
        "plain",
        "running",
        "slot",
        "states",
        "steps",
        "touched_ns",
    )

    def __init__(self, key: int | str, correlation_id: int | str, now_ns: int) -> None:
        self.key = key
        self.correlation_id = correlation_id
        self.items: deque[Pending] = deque()
        self.running: Pending | None = None
        self.plain: InferRequest | None = None
        self.states: dict[str, Tensor] = {}
        self.begun = False
        self.ended = False
        self.steps = 0
        self.touched_ns = now_ns
        self.lane: Lane | None = None
        self.slot = 0

    @property
    def head(self) -> Pending | None:
        """The next request to run, None while one runs or none waits."""
        if self.running is not None:
            return None
        items = self.items
        while items and not items[0].waiting:
            items.popleft()
        return items[0] if items else None

    @property
    def resting(self) -> bool:
        """Whether none of its requests waits or runs."""
        return self.running is None and self.head is None

    def run(self, dressed: InferRequest) -> None:
        """Its running request is to go out as `dressed`."""
        assert self.running is not None
        self.plain, self.running.request = self.running.request, dressed

    def stop(self, pending: Pending) -> bool:
        """`pending` runs no more: it is again as its client sent it. Whether it was running."""
        if self.running is not pending:
            return False
        if self.plain is not None:
            pending.request, self.plain = self.plain, None
        self.running = None
        return True


class Lane:
    """An executor and its slots."""

    __slots__ = ("executor", "free", "slots")

    def __init__(self, executor: Executor, slots: int) -> None:
        self.executor = executor
        self.slots: list[Sequence | None] = [None] * slots
        self.free = slots

    def take(self, sequence: Sequence) -> None:
        """Give `sequence` the lowest free slot: the lower they are, the fewer fillers a batch needs."""
        sequence.slot = self.slots.index(None)
        sequence.lane = self
        self.slots[sequence.slot] = sequence
        self.free -= 1

    def leave(self, sequence: Sequence) -> None:
        """Free the slot of `sequence`."""
        self.slots[sequence.slot] = None
        sequence.lane = None
        self.free += 1


class Slots:
    """The lanes, the sequences that there are, by key, and the backlog of those without a slot.

    A sequence that has rested for `idle_ns` is over.
    """

    def __init__(self, slots: int, idle_ns: int) -> None:
        self._slots = slots
        self._idle_ns = idle_ns
        self._lanes: dict[Executor, Lane] = {}
        self._sequences: OrderedDict[int | str, Sequence] = OrderedDict()  # whoever rests longest first
        self._backlog: OrderedDict[Sequence, None] = OrderedDict()

    @property
    def lanes(self) -> Iterator[Lane]:
        """Every executor's lane."""
        return iter(self._lanes.values())

    @property
    def sequences(self) -> list[Sequence]:
        """Every sequence that there is."""
        return list(self._sequences.values())

    def add(self, executor: Executor) -> None:
        """`executor` has slots to give."""
        self._lanes[executor] = Lane(executor, self._slots)
        self.fill()

    def remove(self, executor: Executor) -> list[Sequence]:
        """`executor` is gone: the sequences that held its slots, now homeless."""
        lane = self._lanes.pop(executor, None)
        homeless = [found for found in lane.slots if found is not None] if lane is not None else []
        for sequence in homeless:
            sequence.lane = None
        return homeless

    def get(self, key: int | str) -> Sequence | None:
        """The sequence of `key`."""
        return self._sequences.get(key)

    def lives(self, sequence: Sequence) -> bool:
        """Whether `sequence` is not over."""
        return self._sequences.get(sequence.key) is sequence

    def homeless(self, sequence: Sequence) -> bool:
        """Whether `sequence` has lost its slot, and does not wait for another one."""
        return sequence.lane is None and sequence not in self._backlog

    def begin(self, sequence: Sequence) -> None:
        """A new sequence takes a slot, or waits for one."""
        self._sequences[sequence.key] = sequence
        self._backlog[sequence] = None
        self.fill()

    def move(self, sequence: Sequence) -> None:
        """A homeless sequence is the next to get a slot."""
        self._backlog[sequence] = None
        self._backlog.move_to_end(sequence, last=False)
        self.fill()

    def fill(self) -> None:
        """Give the slots that are free to those who have waited longest."""
        while self._backlog:
            lane = max(self._lanes.values(), key=_free, default=None)
            if lane is None or not lane.free:
                return
            lane.take(self._backlog.popitem(last=False)[0])

    def touch(self, sequence: Sequence, now_ns: int) -> None:
        """`sequence` is of use."""
        sequence.touched_ns = now_ns
        self._sequences.move_to_end(sequence.key)

    def end(self, sequence: Sequence) -> None:
        """`sequence` is over: its key is free, and its slot."""
        del self._sequences[sequence.key]
        self._backlog.pop(sequence, None)
        if sequence.lane is not None:
            sequence.lane.leave(sequence)
            self.fill()

    def end_idle(self, now_ns: int) -> None:
        """End all that have rested too long."""
        while self._sequences and self.next_idle() <= now_ns:
            sequence = next(iter(self._sequences.values()))
            if sequence.resting:
                self.end(sequence)
            else:
                self.touch(sequence, now_ns)

    def next_idle(self) -> int:
        """When (monotonic nanoseconds) a sequence may be over, at the earliest; 0 for never."""
        first = next(iter(self._sequences.values()), None)
        return first.touched_ns + self._idle_ns if first is not None else 0


def _free(lane: Lane) -> int:
    return lane.free
