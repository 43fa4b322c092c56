"""A payload between its sending and the last thing heard of it: what it occupies, and who still waits."""

from __future__ import annotations

from pyserver.instance.memory import Block, RequestMemory
from pyserver.instance.placing import NO_BLOCK
from pyserver.payload import Payload, Pending


class Flight:
    """`open` has a bit for each request that still waits for its final answer.

    The inputs stay where they are until the payload is executed and no request of it is open: a model that streams
    answers may read them until its last one.
    """

    __slots__ = ("cancelled", "executed", "lent", "offset", "open", "payload", "slots", "streamed")

    def __init__(self, payload: Payload, count: int, offset: int, slots: list[int], lent: list[Block] | None) -> None:
        self.payload = payload
        self.open = (1 << count) - 1
        self.executed = False
        self.streamed = False
        self.cancelled = False
        self.offset = offset
        self.slots = slots
        self.lent = lent

    def waiting(self) -> list[Pending]:
        """The requests that have not heard their last."""
        return [pending for row, pending in enumerate(self.payload.pendings) if self.open >> row & 1]

    def cancel(self, pending: Pending, memory: RequestMemory) -> None:
        """Let the model see that nobody waits for `pending`."""
        self.cancelled = True
        if self.slots:
            memory.cancelled[self.slots[self.payload.pendings.index(pending)]] = 1

    def took(self, row: int, memory: RequestMemory) -> None:
        """Let the model see that one more response of its stream has been read."""
        if self.slots:
            slot = self.slots[row]
            memory.taken[slot] = (memory.taken[slot] + 1) & 0xFFFFFFFF

    def land(self, memory: RequestMemory) -> None:
        """Give back what it occupied."""
        if self.offset != NO_BLOCK:
            memory.arena.free(self.offset)
        if self.cancelled:
            for slot in self.slots:
                memory.cancelled[slot] = 0
        if self.streamed:
            for slot in self.slots:
                memory.taken[slot] = 0
        memory.slots += self.slots
        self.slots = []  # a lease may end later
        if self.lent:
            for block in self.lent:
                block.drop()
