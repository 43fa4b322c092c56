"""The scheduler of ensembles: a request is in time until the last of its steps has begun."""

from __future__ import annotations

from pyserver.errors import ErrorCode, ServerError
from pyserver.payload import Pending
from pyserver.scheduler.direct import DirectScheduler
from pyserver.scheduler.queue import late
from pyserver.scheduler.scheduler import Scheduler


class EnsembleScheduler(DirectScheduler):
    """As the default one, for an executor that is many models: it watches the time of what it has sent, too."""

    def submit(self, pending: Pending) -> None:
        """As any scheduler's, always by way of the queue, which knows the deadlines."""
        Scheduler.submit(self, pending)

    def failed(self, pending: Pending, error: ServerError) -> None:
        """As any scheduler's; counted as cancelled if nobody waits, as rejected if a step gave it up for its time."""
        now = self._clock()
        if pending.payload is not None:
            over = 0 < pending.deadline_ns <= now and error.code is ErrorCode.UNAVAILABLE
            if pending.cancelled:
                pending.payload = None
                self._observer.cancelled(pending, now)
            elif over:
                pending.payload = None
                self._observer.rejected(pending, now)
        super().failed(pending, error)

    def _late(self) -> ServerError:
        return late(self._model, "before all steps had begun of ensemble")
