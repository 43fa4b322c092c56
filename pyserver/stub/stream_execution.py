"""One payload through a decoupled model's execute: the answers are the senders' business."""

from __future__ import annotations

import threading
import time
from typing import Any, Awaitable, Coroutine, Sequence

from pyserver.ipc.messages import FINAL, Request, pack_executed
from pyserver.ipc.words import EXECUTING
from pyserver.stub import executing
from pyserver.stub.execution import Execution, Refusal
from pyserver.stub.request import ReceivedRequest
from pyserver.stub.streaming import StreamedRequest

_NOT_NONE = "Python model '{}' is using the decoupled mode and the execute function must return None, found type '{}'."
_now = time.monotonic_ns


class StreamExecution(Execution):
    """Runs payloads on a decoupled model's execute. A coroutine of it goes on beside the next payloads."""

    @property
    def _failed_flags(self) -> int:
        # Some of its answers may be out: nothing that fails runs once more.
        return FINAL

    def run(self, payload: int, received: Sequence[Request], control: memoryview) -> int:
        """Execute one payload; return when that was done (monotonic ns). The answers come when they come."""
        began = _now()
        control[EXECUTING] = payload
        desk, layouts = self._desk, self._layouts
        requests = [
            StreamedRequest(key, slot, layouts[layout], windows, extras, desk)
            for key, slot, layout, windows, extras in received
        ]
        started = _now()
        try:
            executing.requests = requests
            try:
                returned = self._call(requests)
            finally:
                executing.requests = ()
            if hasattr(returned, "__await__"):
                self._go_on(self._finish(returned, requests))
            else:
                self._check_none(returned)
        except BaseException as error:
            self._fail(requests, error)
        done = _now()
        self.took_ns = took = done - started
        desk.outbox.put(pack_executed(payload, began, started - began, took, 0))
        return done

    def _call(self, requests: Sequence[ReceivedRequest]) -> Any:
        if self._execute is None:
            raise Refusal(f"Python model {self._model_file} does not implement `execute` method.")
        return self._execute(requests)

    def _check_none(self, returned: object) -> None:
        if returned is not None:
            raise Refusal(_NOT_NONE.format(self._instance_name, type(returned)))

    async def _finish(self, awaitable: Awaitable[Any], requests: Sequence[ReceivedRequest]) -> None:
        executing.beside.set([request.key for request in requests])
        try:
            self._check_none(await awaitable)
        except BaseException as error:
            self._fail(requests, error)
            self._desk.outbox.flush()

    def _go_on(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it on the loop, in a thread of its own, that all coroutines of the model share."""
        import asyncio  # only who needs it waits for it

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="async execute", daemon=True).start()
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)
