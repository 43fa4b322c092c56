"""What the stub has to say, from whichever thread, through the one channel."""

from __future__ import annotations

import threading
from collections import deque

from pyserver.ipc.channel import Channel


class Outbox:
    """Records on their way out. Any thread may put and flush; nobody waits for another's lock.

    A thread that finds the channel taken leaves its records to whoever holds it. So it may be called from where a
    lock would be a trap: a finalizer that runs in the middle of a flush.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self.put = self._waiting.append  # a record that the next flush sends

    def flush(self) -> None:
        """Send what was put."""
        waiting, lock = self._waiting, self._lock
        # Asked again after the release: what came meanwhile found the channel taken, and nobody else would send it.
        while waiting and lock.acquire(False):
            try:
                while waiting:
                    self._channel.put(waiting.popleft())
                self._channel.flush()
            finally:
                lock.release()

    def say(self, record: bytes) -> None:
        """Send a record now, behind what was put before."""
        self.put(record)
        self.flush()
