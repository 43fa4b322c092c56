"""What a model asks of the server, over a channel of its own: whoever asks waits for his own answer and no other's.

Any thread may ask, at any time. One thread reads, from the first question on, and hands each answer to who waits.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import socket
import threading
from typing import Any, Callable, Dict, NamedTuple

from pyserver.ipc import messages
from pyserver.ipc.channel import Channel
from pyserver.stub import executing
from pyserver.stub.answers import Answers
from pyserver.stub.exceptions import TritonModelException
from pyserver.stub.outbox import Outbox
from pyserver.stub.tensor import Tensor

_NO_TENSORS = messages.pack_layout(messages.Layout(()))


class Answer(NamedTuple):
    """A RESPONSE: its outputs lie in the request arena until `Calls.free`."""

    code: int
    flags: int
    layout: bytes
    windows: messages.Windows
    extras: bytes


class Call:
    """A question that is under way; `block` is where its inputs lie (-1 for none), `listen` is told of each answer."""

    __slots__ = ("_answers", "_listener", "block", "key")

    def __init__(self, key: int, block: int) -> None:
        self.key = key
        self.block = block
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._listener: Callable[[], None] | None = None

    def take(self) -> Any:
        """The next answer; waits for it."""
        return self._answers.get()

    def waiting(self) -> bool:
        """Whether an answer has come that nobody has taken."""
        return not self._answers.empty()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Have `listener` called, in the reader's thread, whenever an answer has come; now if one has."""
        self._listener = listener
        if listener is not None and self.waiting():
            listener()

    def give(self, answer: Any) -> None:
        """An answer has come."""
        self._answers.put(answer)
        listener = self._listener
        if listener is not None:
            listener()


class Calls:
    """The stub's end of the second channel. `probe` is the model's is_ready, if it has one."""

    def __init__(self, fd: int, answers: Answers, memory: memoryview, flush: Callable[[], None]) -> None:
        self._channel = Channel(socket.socket(fileno=fd))
        self._say = Outbox(self._channel).say
        self._flush = flush  # sends what was answered before: it is not to wait for our answer
        self._answers = answers
        self.cells = answers.cells
        self.memory = memory
        self.probe: Callable[[], Any] | None = None
        self._starting = threading.Lock()
        self._reader: threading.Thread | None = None
        self._numbers = itertools.count(1)
        self._open: Dict[int, Call] = {}

    def infer(self, fields: dict[str, Any], inputs: list[Tensor]) -> Call:
        """Ask for an inference. ArenaFull where the inputs have no room, TypeError or ValueError for broken ones."""
        layout, windows = self._answers.written(inputs)
        call = self._begin(windows[0] if windows else -1)
        waits = int(threading.current_thread() is threading.main_thread())
        works_for = executing.keys()
        if works_for:
            fields["for"] = works_for
        request = (call.key, 0, layout, windows, json.dumps(fields).encode())
        self._say(messages.pack_execute(waits, [request]))
        return call

    def feed(self, key: int) -> Call:
        """Ask for the other requests of the client's stream that the request `key` began."""
        call = self._begin(-1)
        fields = json.dumps({"feed": key}).encode()
        self._say(messages.pack_execute(0, [(call.key, 0, _NO_TENSORS, (), fields)]))
        return call

    def control(self, what: str, **fields: Any) -> Any:
        """Ask for anything else, and wait; TritonModelException if the server refuses."""
        call = self._begin(-1)
        self._say(messages.pack_json(messages.CONTROL, {"key": call.key, "what": what, **fields}))
        said = call.take()
        if "message" in said:
            raise TritonModelException(said["message"])
        return said.get("value")

    def cancel(self, call: Call) -> None:
        """Nobody waits for more answers to `call`; its final one still comes."""
        self._say(messages.pack_json(messages.CANCEL, {"key": call.key}))

    def free(self, offset: int) -> None:
        """The outputs of an answer have been read."""
        self._say(messages.pack_free((offset,)))

    def start(self) -> None:
        """Read from now on."""
        with self._starting:
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
                self._reader.start()

    def _begin(self, block: int) -> Call:
        call = Call(next(self._numbers), block)
        self._open[call.key] = call
        self._flush()
        if self._reader is None:
            self.start()
        return call

    def _read(self) -> None:
        while True:
            message = self._channel.receive()
            if not message:
                os._exit(1)  # the server is gone, and whoever waits for it would wait for ever
            for record in messages.from_callee(message):
                if record[0] == messages.RESPONSE:
                    self._on_response(record[1], Answer(*record[2:]))
                elif record[0] == messages.CONTROLLED:
                    said = messages.unpack_json(record[1])
                    self._open.pop(said["key"]).give(said)
                else:
                    key = messages.unpack_json(record[1])["key"]
                    threading.Thread(target=self._on_probe, args=(key,), name="is_ready", daemon=True).start()

    def _on_response(self, key: int, answer: Answer) -> None:
        call = self._open[key]
        if answer.flags & messages.FINAL:
            del self._open[key]
            if call.block >= 0:
                self._answers.free((call.block,))
        call.give(answer)

    def _on_probe(self, key: int) -> None:
        said: dict[str, Any] = {"key": key}
        try:
            ready = self.probe() if self.probe is not None else True
            if hasattr(ready, "__await__"):
                ready = _awaited(ready)
            if isinstance(ready, bool):
                said["ready"] = ready
            else:
                said["error"] = f"is_ready must return a bool, got {type(ready)}"
        except BaseException as error:
            said["error"] = f"{type(error).__name__}: {error}"
        self._say(messages.pack_json(messages.PROBED, said))


def _awaited(awaitable: Any) -> Any:
    import asyncio

    async def whole() -> Any:
        return await awaitable

    return asyncio.run(whole())


_calls: Calls | None = None


def connect(fd: int, answers: Answers, memory: memoryview, flush: Callable[[], None]) -> Calls:
    """Open the process's second channel; `flush` sends what waits in the first."""
    global _calls
    _calls = Calls(fd, answers, memory, flush)
    return _calls


def calls() -> Calls:
    """The process's second channel; TritonModelException where there is none."""
    if _calls is None:
        raise TritonModelException("there is no server to ask")
    return _calls
