"""Answering one request from wherever the model likes: pb_utils.InferenceResponseSender."""

from __future__ import annotations

import threading
from typing import Callable

from pyserver.ipc.messages import FINAL
from pyserver.stub.answers import Answers
from pyserver.stub.exceptions import TritonModelException
from pyserver.stub.outbox import Outbox
from pyserver.stub.response import ErrorCode, InferenceResponse

_lock = threading.Lock()  # over the few instructions that change any reply's state
_FORGOTTEN = "the model dropped the request's response sender without sending its final response"


class Reply:
    """The state of a request's answer, shared by its senders. Dropping the last of them unanswered is an error.

    `owed` says that no answer has come, `open` that one may be sent. In the default mode the first is the last:
    it goes out as final, and the closing flag that may follow says nothing more.
    """

    __slots__ = ("_answers", "_key", "_outbox", "_wanted", "open", "owed")

    def __init__(self, key: int, wanted: frozenset[str] | None, answers: Answers, outbox: Outbox) -> None:
        self._key = key
        self._wanted = wanted
        self._answers = answers
        self._outbox = outbox
        self.open = True
        self.owed = True

    def send(self, response: InferenceResponse | None, flags: int) -> None:
        """Send a response, or close. TritonModelException where Triton refuses it."""
        with _lock:
            self._check(response, flags)
            if flags:
                self.open = False
            if response is not None:
                self.owed = False
        if response is not None:
            self._outbox.say(self._answers.response(self._key, response, self._wanted))

    def take(self) -> bool:
        """Whether the answer is still owed; if so the caller now owes it, and the senders are closed."""
        with _lock:
            owed, self.owed, self.open = self.owed, False, False
        return owed

    def _check(self, response: InferenceResponse | None, flags: int) -> None:
        refusal = "Unsupported flag provided." if flags not in (0, FINAL) else self._refusal(response, flags)
        if refusal:
            raise TritonModelException(f"Unable to send response. {refusal}")

    def _refusal(self, response: InferenceResponse | None, flags: int) -> str:
        if not self.open:
            return "Response sender has been closed."
        if response is None and not flags:
            return "Inference Response object must be provided when the response flags is set to zero."
        if response is None and self.owed:
            return "Non-decoupled model cannot send complete final before sending a response."
        if response is not None and not self.owed:
            return "Non-decoupled model cannot send more than one response."
        return ""

    def __del__(self) -> None:
        # No lock: nobody else holds this any more, and a finalizer may run where the lock is held.
        if self.owed:
            self.owed = False
            self._outbox.say(self._answers.error(self._key, ErrorCode.INTERNAL, _FORGOTTEN))


class InferenceResponseSender:
    """What `request.get_response_sender()` gives: sends from any thread, also after execute has returned."""

    __slots__ = ("_reply", "is_cancelled")

    def __init__(self, reply: Reply, is_cancelled: Callable[[], bool]) -> None:
        self._reply = reply
        self.is_cancelled = is_cancelled  # whether nobody waits for the answer any more

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Send `response`; `flags` is 0, or TRITONSERVER_RESPONSE_COMPLETE_FINAL with the last, or after it."""
        if response is not None and not isinstance(response, InferenceResponse):
            raise TypeError(f"send() takes an InferenceResponse, got {type(response)}")
        self._reply.send(response, flags)
