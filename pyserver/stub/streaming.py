"""Decoupled models: requests that are answered by senders alone, any number of times, from anywhere, at any time."""

from __future__ import annotations

import threading
import time

from pyserver.ipc.messages import EMPTY, FINAL, Windows
from pyserver.stub.reply import InferenceResponseSender, Reply
from pyserver.stub.request import Desk, ReceivedRequest, RequestLayout
from pyserver.stub.response import InferenceResponse

WINDOW = 64
"""Responses of one request that may be sent and not yet read; the next one waits."""
_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.005
_COLLECT_EACH = 32  # responses: how often a sender looks for memory that was given back
_MASK = 0xFFFFFFFF


class StreamReply(Reply):
    """The answers to one request, in the order in which they were sent; `owed` until the final one was."""

    __slots__ = ("_desk", "_sent", "_slot", "_turn")

    def __init__(self, key: int, slot: int, wanted: frozenset[str] | None, desk: Desk) -> None:
        super().__init__(key, wanted, desk.answers, desk.outbox)
        self._desk = desk
        self._slot = slot
        self._sent = 0
        self._turn = threading.RLock()  # nothing may overtake, least of all the final flag

    def send(self, response: InferenceResponse | None, flags: int) -> None:
        """Send a response, or close. Waits while the reader is slow; what nobody waits for is dropped."""
        with self._turn:
            self._check(response, flags)
            if flags:
                self.owed = self.open = False
            elif not self._room():
                return
            if response is None:
                record = self._answers.nothing(self._key, FINAL | EMPTY)
            else:
                record = self._answers.response(self._key, response, self._wanted, flags)
            self._outbox.say(record)
            self._sent += 1
            if not self.open:
                self._slot = 0  # from now on it may be another's
            elif not self._sent % _COLLECT_EACH:
                self._answers.reclaim()

    def take(self) -> bool:
        """Whether the final answer is still owed; if so the caller now owes it, and the senders are closed."""
        with self._turn:
            owed, self.owed, self.open = self.owed, False, False
            self._slot = 0
        return owed

    def is_cancelled(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return bool(self._desk.cancelled[self._slot])

    @property
    def has_room(self) -> bool:
        """Whether the next response can be sent, or dropped, without waiting."""
        slot, desk = self._slot, self._desk
        return not slot or (self._sent - desk.taken[slot]) & _MASK < WINDOW or bool(desk.cancelled[slot])

    def _refusal(self, response: InferenceResponse | None, flags: int) -> str:
        if response is None and not flags:
            return "Inference Response object must be provided when the response flags is set to zero."
        return "" if self.open else "Response sender has been closed."

    def _room(self) -> bool:
        """Wait until fewer than WINDOW responses are unread; False once nobody waits for them."""
        slot, desk = self._slot, self._desk
        pause = _FIRST_PAUSE
        while slot and (self._sent - desk.taken[slot]) & _MASK >= WINDOW and not desk.cancelled[slot]:
            self._answers.reclaim()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return not desk.cancelled[slot]


class StreamedRequest(ReceivedRequest):
    """A request to a decoupled model. Its inputs stay where they are until its final answer."""

    __slots__ = ()
    _reply: StreamReply

    def __init__(self, key: int, slot: int, layout: RequestLayout, windows: Windows, extras: bytes, desk: Desk) -> None:
        super().__init__(key, slot, layout, windows, extras, desk)
        self._reply = StreamReply(key, slot, layout.wanted, desk)

    def is_cancelled(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self._reply.is_cancelled()

    def get_response_sender(self) -> InferenceResponseSender:
        """A sender of the request's answers."""
        return InferenceResponseSender(self._reply, self._reply.is_cancelled)
