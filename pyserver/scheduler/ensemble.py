"""The scheduler of ensembles: a request is in time until the last of its steps has begun."""

from __future__ import annotations

from pyserver.errors import ServerError
from pyserver.payload import Payload, Pending, Timing
from pyserver.scheduler.direct import DirectScheduler
from pyserver.scheduler.queue import late
from pyserver.scheduler.scheduler import Scheduler


class EnsembleScheduler(DirectScheduler):
    """As the default one, for an executor that is many models: it watches the time of what it has sent, too."""

    def submit(self, pending: Pending) -> None:
        """As any scheduler's, always by way of the queue, which knows the deadlines."""
        Scheduler.submit(self, pending)

    def executed(self, payload: Payload, timing: Timing | None) -> None:
        """As any scheduler's; what a step gave up when the request's time was over was rejected."""
        (pending,) = payload.pendings
        now = self._clock()
        if timing is None and pending.payload is payload and not pending.cancelled and 0 < pending.deadline_ns <= now:
            self._observer.rejected(pending, now)
            pending.payload = None
        super().executed(payload, timing)

    def _late(self) -> ServerError:
        return late(self._model, "before all steps had begun of ensemble")
