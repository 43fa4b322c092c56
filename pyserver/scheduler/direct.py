"""The default scheduler: one request a payload, in order, to whichever instance has room."""

from __future__ import annotations

from pyserver.payload import Pending
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import CallAt, Observer, Scheduler
from pyserver.types import Clock


class DirectScheduler(Scheduler):
    """Hands each request to an executor as soon as one has room; until then it waits."""

    def __init__(self, model: str, queue: RequestQueue, clock: Clock, call_at: CallAt, observer: Observer) -> None:
        super().__init__(model, queue, clock, call_at, observer)
        self._timed = queue.timed

    def submit(self, pending: Pending) -> None:
        """As any scheduler's; with room and nobody waiting the queue is not touched at all."""
        if self._closed is None and not len(self._queue):
            executor = self._least_loaded(pending.arrived_ns)
            # What has a deadline and may not begin at once goes through the queue, which watches it.
            if executor is not None and not (executor.load and (self._timed or pending.request.timeout_us)):
                self._send([pending], executor)
                return
        super().submit(pending)

    def _pump(self, now_ns: int) -> None:
        while len(self._queue):
            executor = self._least_loaded(now_ns)
            if executor is None:
                return
            pending = self._queue.pop()
            if pending is not None:
                self._send([pending], executor)
