"""The sequence batcher: requests with one correlation id run in order, on one instance (ModelSequenceBatching).

A sequence holds a slot of an executor from its START until its END has run, or until it has rested too long; while all
slots are taken, new sequences wait in a backlog. Of one sequence one request runs at a time. A request that starts a
sequence which is still there starts it anew in its slot, behind what was asked before.
"""

from __future__ import annotations

from collections.abc import Callable

from pyserver.errors import ServerError, unavailable
from pyserver.payload import Executor, Payload, Pending, Timing
from pyserver.scheduler.controls import Controls
from pyserver.scheduler.dress import Dress
from pyserver.scheduler.fillers import NOBODY
from pyserver.scheduler.formation import BatchKey, SequencePolicy, form
from pyserver.scheduler.implicit_state import States
from pyserver.scheduler.membership import Membership
from pyserver.scheduler.ordering import Ordering
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import CallAt, Observer, Scheduler
from pyserver.scheduler.slots import Lane, Sequence, Slots
from pyserver.types import SEQUENCE_END, Clock, InferResponse


class SequenceScheduler(Scheduler):
    """Both strategies, iterative sequences, and the implicit state of each sequence."""

    def __init__(
        self,
        model: str,
        queue: RequestQueue,
        clock: Clock,
        call_at: CallAt,
        observer: Observer,
        policy: SequencePolicy,
        key: BatchKey,
        controls: Controls,
        states: States,
    ) -> None:
        super().__init__(model, queue, clock, call_at, observer)
        self._policy = policy
        self._key = key
        self._dress = Dress(model, controls, states, policy.iterative)
        self._ordering = Ordering() if policy.preserve_ordering else None
        self._slots = Slots(policy.slots, policy.idle_ns)
        self._membership = Membership(model, controls, self._slots, policy.iterative)
        self._of: dict[Pending, Sequence] = {}  # of every request that waits or runs

    def add(self, executor: Executor) -> None:
        """As any scheduler's; its slots are filled from the backlog."""
        self._slots.add(executor)
        super().add(executor)

    def remove(self, executor: Executor) -> None:
        """As any scheduler's; the sequences that have begun there are lost, since their model's memory is."""
        super().remove(executor)
        for sequence in self._slots.remove(executor):
            if sequence.running is None:
                self._rehouse(sequence)
        self._pump(self._clock())

    def submit(self, pending: Pending) -> None:
        """As any scheduler's; INVALID_ARG for what is no part of a sequence."""
        if self._closed is not None:
            raise self._closed
        known = self._membership.check(pending)
        try:
            self._queue.admit(pending)
        except ServerError:
            self._observer.rejected(pending, pending.arrived_ns)
            raise
        sequence = known or self._membership.begin(pending)
        sequence.items.append(pending)
        sequence.ended = self._policy.iterative or pending.request.flags & SEQUENCE_END != 0
        self._of[pending] = sequence
        self._slots.touch(sequence, pending.arrived_ns)
        self._pump(pending.arrived_ns)
        self._wake_at(pending.deadline_ns)
        self._wake_at(self._slots.next_idle())

    def cancel(self, pending: Pending) -> None:
        """As any scheduler's."""
        waited = pending.waiting
        super().cancel(pending)
        if waited and not pending.waiting:
            self._finish(pending)

    def abandon(self, error: ServerError) -> None:
        """As any scheduler's; every sequence is over."""
        for sequence in self._slots.sequences:
            self._end(sequence, error)

    # Batches.

    def _pump(self, now_ns: int) -> None:
        for lane in list(self._slots.lanes):
            executor = lane.executor
            while (formed := form(lane, self._policy, self._key, now_ns, executor.load > 0)).sequences:
                if not executor.room(now_ns):
                    break
                self._dispatch(lane, formed.sequences)
            self._wake_at(formed.wait_until)

    def _dispatch(self, lane: Lane, sequences: list[Sequence]) -> None:
        taken: dict[int, Pending] = {}
        orphans: list[Pending] = []
        for sequence in sequences:
            pending = sequence.items.popleft()
            self._queue.forget(pending)
            if self._dress.put_on(pending, sequence):
                taken[sequence.slot] = pending
            else:
                orphans.append(pending)
        if taken:
            self._send_rows(lane, taken)
        for pending in orphans:
            self._observer.lost(pending, self._clock())
            self.failed(pending, self._membership.refusal(pending.request, "follows a START that never ran"))

    def _send_rows(self, lane: Lane, taken: dict[int, Pending]) -> None:
        """Send requests, by slots; each as the row of its slot where the strategy is direct."""
        batch = list(taken.values())
        if self._ordering is not None:
            self._ordering.sent(batch)
        if not self._policy.direct:
            self._send(batch, lane.executor)
            return
        rows = self._dress.rows(taken, self._of[batch[0]], self._clock())
        self._send(rows, lane.executor)
        for pending in rows:
            if pending.reply is NOBODY:
                pending.payload = None  # it counts for nothing

    # What executors report.

    def answered(self, pending: Pending, response: InferResponse, final: bool) -> None:
        """Pass an answer on, without the states, which are kept."""
        sequence = self._of.get(pending)
        if sequence is not None:
            try:
                self._dress.off(response, sequence)
            except ServerError as error:
                response.release()
                self.failed(pending, error)
                return
        pending.done = pending.done or final
        self._tell(pending, lambda: pending.reply.answer(response, final))
        if final:
            self._finish(pending)

    def failed(self, pending: Pending, error: ServerError) -> None:
        """Pass a failure on; the sequence goes on."""
        pending.done = pending.failed = True
        self._tell(pending, lambda: pending.reply.fail(error))
        self._finish(pending)

    def dropped(self, pending: Pending) -> None:
        """As any scheduler's."""
        super().dropped(pending)
        self._unbegin(pending)
        self._finish(pending)

    def rescheduled(self, pending: Pending) -> None:
        """An iterative sequence's request goes to the head of its own queue, and keeps its slot."""
        sequence = self._of.get(pending)
        if not self._policy.iterative or sequence is None:
            super().rescheduled(pending)
            return
        if self._ordering is not None:
            self._ordering.returned([pending])
        sequence.steps += 1
        self._put_back(pending, sequence)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """As any scheduler's; whoever was cancelled holds nobody up."""
        super().executed(payload, timing)
        if self._ordering is not None:
            self._ordering.release()

    def returned(self, payload: Payload) -> None:
        """An executor gave back what it had not begun: it runs elsewhere if its sequence can."""
        self.running -= 1
        if self._ordering is not None:
            self._ordering.returned(payload.pendings)
        for pending in payload.pendings:
            sequence = self._of.get(pending)
            if sequence is not None:
                self._unbegin(pending)
                self._put_back(pending, sequence)
        self._pump(self._clock())
        self._wake_at(self._queue.next_expiry())

    def _tell(self, pending: Pending, outcome: Callable[[], None]) -> None:
        if self._ordering is not None and pending.payload is not None:
            self._ordering.tell(pending, outcome)
        else:
            outcome()

    def _unbegin(self, pending: Pending) -> None:
        """`pending` was sent and has not run: if it was to start its sequence, that has not begun."""
        sequence = self._of.get(pending)
        if sequence is not None:
            self._dress.unbegin(sequence)

    def _put_back(self, pending: Pending, sequence: Sequence) -> None:
        """`pending` was sent and is to be sent again."""
        sequence.stop(pending)
        pending.payload = None
        if pending.done:
            self._finish(pending)
        elif pending.cancelled:
            pending.done = True
            self._observer.cancelled(pending, self._clock())
            self._finish(pending)
        else:
            sequence.items.appendleft(pending)
            self._queue.readmit(pending)
            if self._slots.homeless(sequence):
                self._rehouse(sequence)

    def _finish(self, pending: Pending) -> None:
        """Nothing more is heard of `pending`: its sequence may go on, or is over."""
        sequence = self._of.pop(pending, None)
        if sequence is None:
            return
        if sequence.stop(pending):
            sequence.steps += 1
        if not self._slots.lives(sequence):
            return
        now = self._clock()
        if self._slots.homeless(sequence):
            self._rehouse(sequence)
        elif sequence.ended and sequence.resting:
            self._slots.end(sequence)
        else:
            self._slots.touch(sequence, now)
        self._pump(now)

    # Ends that come too early.

    def _expire(self, pending: Pending, now_ns: int) -> None:
        waited = pending.payload is None
        super()._expire(pending, now_ns)
        if waited:
            self._finish(pending)

    def _rehouse(self, sequence: Sequence) -> None:
        """The executor of `sequence` is gone: it begins elsewhere if it has not begun, or is lost."""
        if sequence.begun or sequence.steps:
            self._end(sequence, self._lost(sequence))
        else:
            self._slots.move(sequence)

    def _lost(self, sequence: Sequence) -> ServerError:
        return unavailable(
            f"sequence {sequence.correlation_id} of model '{self._model}' was lost with its instance: start it again"
        )

    def _end(self, sequence: Sequence, error: ServerError) -> None:
        """`sequence` is over, and what waits in it fails."""
        self._slots.end(sequence)
        now = self._clock()
        while (pending := sequence.items.popleft() if sequence.items else None) is not None:
            if pending.waiting:
                self._queue.forget(pending)
                self._of.pop(pending, None)
                self._observer.lost(pending, now)
                pending.done = pending.failed = True
                pending.reply.fail(error)

    def _awake(self) -> None:
        super()._awake()
        now = self._clock()
        self._slots.end_idle(now)
        self._pump(now)
        self._wake_at(self._slots.next_idle())
