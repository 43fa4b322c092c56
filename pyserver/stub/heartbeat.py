"""A sign of life while the model loads: a count that goes up as long as Python code can run in this process."""

from __future__ import annotations

import threading

from pyserver.ipc.words import HEARTBEAT

_SECONDS = 0.2


class Heartbeat:
    """Beats from its start until `stop`. A model that waits goes on beating; one that is stopped, or whose extension
    keeps the interpreter's lock, does not.
    """

    def __init__(self, control: memoryview) -> None:
        self._control = control
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, name="pyserver heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Beat no more: nobody listens."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(_SECONDS):
            self._control[HEARTBEAT] += 1
