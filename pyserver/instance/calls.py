"""What a stub asks of the server: inferences of other models, and whatever else its `Services` do for it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any

import orjson

from pyserver.errors import ErrorCode, ServerError, unavailable
from pyserver.instance.call import FEED_WINDOW, Call, nobody_waits, read_request, time_left, unwanted
from pyserver.instance.link import Link
from pyserver.instance.memory import RequestMemory
from pyserver.instance.placing import NO_BLOCK, place_one
from pyserver.instance.responses import ResponseMemory
from pyserver.instance.services import Responses, Services
from pyserver.ipc import envelope, messages
from pyserver.ipc.arena import ArenaFull
from pyserver.ipc.messages import EMPTY, FINAL, OK, Layout, MessageError, pack_json, pack_layout, unpack_json
from pyserver.types import Clock, InferRequest, InferResponse

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""What is_ready may take."""
_NO_TENSORS = pack_layout(Layout(()))


class Calls:
    """The server's end of an instance's second channel, on the running loop.

    Answers lie in `requests`, the request memory of the caller's model, until the stub has read them.
    """

    def __init__(
        self,
        sock: socket.socket,
        caller: Any,
        requests: RequestMemory,
        responses: ResponseMemory,
        services: Services,
        clock: Clock,
    ) -> None:
        self._caller = caller
        self._name = caller.name
        self._requests = requests
        self._responses = responses
        self._services = services
        self._clock = clock
        self._open: dict[int, Call] = {}
        self._lent: dict[int, Call | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._probe: asyncio.Future[dict[str, Any]] | None = None
        self._loop = asyncio.get_running_loop()
        self._link = Link(sock, self._on_records, caller.on_nonsense, lambda: None, messages.from_caller)

    @property
    def blocking(self) -> list[Responses]:
        """What the stub's main thread waits for, and does nothing else."""
        return [call.stream for call in self._open.values() if call.blocks]

    def abandoned(self) -> None:
        """A request was cancelled: give up the calls that are made for it, and for nobody else who waits."""
        for call in [call for call in self._open.values() if call.abandoned]:
            self._give_up(call, unwanted(call.stream.model.name))

    async def probe(self) -> bool:
        """What the model's is_ready says within PROBE_SECONDS; those who ask together share one answer."""
        if self._probe is None or self._probe.done():
            self._probe = self._loop.create_future()
            self._link.send(pack_json(messages.PROBE, {"key": 0}))
        try:
            said = await asyncio.wait_for(asyncio.shield(self._probe), PROBE_SECONDS)
        except asyncio.TimeoutError:
            log.warning("%s: is_ready took longer than %g s", self._name, PROBE_SECONDS)
            return False
        if "error" in said:
            log.warning("%s: is_ready failed: %s", self._name, str(said["error"])[:1000])
        return said.get("ready") is True

    def close(self) -> None:
        """The stub is gone: nobody waits for anything, and nothing of its answers is read any more."""
        self._link.drain()
        self._link.close()
        calls, self._open = self._open, {}
        for call in calls.values():
            call.stream.cancel()
            call.end()
        for offset in self._lent:
            self._requests.arena.free(offset)
        self._lent.clear()
        if self._probe is not None and not self._probe.done():
            self._probe.set_result({"ready": False})
        self._services.gone(self._caller)
        self._caller = None

    def _on_records(self, records: list[tuple[Any, ...]]) -> bool:
        for record in records:
            kind = record[0]
            if kind == messages.EXECUTE:
                for request in record[2]:
                    self._on_call(bool(record[1]), *request)
            elif kind == messages.FREE:
                self._on_free(record[1])
            elif kind == messages.CANCEL:
                self._on_cancel(_key(unpack_json(record[1])))
            elif kind == messages.CONTROL:
                asked = unpack_json(record[1])
                self._start(self._control(_key(asked), asked))
            elif self._probe is not None and not self._probe.done():
                self._probe.set_result(unpack_json(record[1]))
        return True

    def _on_call(self, blocks: bool, key: int, _: int, layout: bytes, windows: tuple[int, ...], extras: bytes) -> None:
        if key in self._open:
            raise MessageError(f"call {key} is under way")
        said = unpack_json(extras)
        if "feed" in said:
            self._on_feed(key, said["feed"])
            return
        inputs = self._responses.outputs(layout, windows)
        works_for = self._caller.pendings(said.get("for", ()))
        try:
            request = read_request(said, inputs)
            if nobody_waits(works_for):
                raise unwanted(request.model_name)
            given_us, request.timeout_us = request.timeout_us, time_left(works_for, request.timeout_us, self._clock())
            decoupled = said.get("decoupled") is True
            stream = self._services.infer(request, decoupled, self._caller, blocks, said.get("trace_id"))
        except ServerError as error:
            self._refuse(key, error)
            return
        call = self._open[key] = Call(self, key, stream, blocks, works_for)
        if blocks:
            self._caller.pause()
        if given_us:
            self._time(call, given_us)
        stream.listen(call.heard)

    def _on_feed(self, key: int, began_by: object) -> None:
        """The model reads the client's stream that this request of its began."""
        began = self._caller.pendings([began_by])
        try:
            if not began or nobody_waits(began):
                raise ServerError(ErrorCode.CANCELLED, "nobody waits any more for the answers to this stream")
            stream = self._services.feed(began[0])
        except ServerError as error:
            self._refuse(key, error)
            return
        call = self._open[key] = Call(self, key, stream, False, began, FEED_WINDOW)
        stream.listen(call.heard)

    def pass_on(self, call: Call, response: InferResponse, final: bool) -> None:
        """Send an answer, its outputs copied to where the caller reads."""
        if call.key not in self._open:
            return
        flags = FINAL * final | EMPTY * response.empty
        if response.error is not None:
            self._answer(call, flags, response.error)
            return
        outputs = response.outputs
        if outputs and outputs[-1].name == envelope.NAME:
            outputs = outputs[:-1]  # it is for front ends
        try:
            offset, windows = place_one(self._requests, InferRequest("", inputs=outputs))
        except ArenaFull as full:
            error = unavailable(
                f"'{self._name}' has no room for {full.nbytes} bytes that it asked for (--max-model-memory)"
            )
            self._answer(call, flags, error)
            return
        if offset != NO_BLOCK:
            self._lent[offset] = call
            call.unread += 1
        specs = tuple((tensor.name, tensor.datatype, tensor.shape) for tensor in outputs)
        extras = orjson.dumps({"parameters": response.parameters}) if response.parameters else b""
        self._send(call.key, OK, flags, pack_layout(Layout(specs)), windows, extras)
        if final:
            self._close(call)

    def _answer(self, call: Call, flags: int, error: ServerError) -> None:
        self._send(call.key, int(error.code), flags, _NO_TENSORS, (), _told(error))
        if flags & FINAL:
            self._close(call)

    def _refuse(self, key: int, error: ServerError) -> None:
        self._send(key, int(error.code), FINAL, _NO_TENSORS, (), _told(error))

    def _send(self, key: int, code: int, flags: int, layout: bytes, windows: tuple[int, ...], extras: bytes) -> None:
        self._link.send(messages.pack_response(key, code, flags, layout, windows, extras))

    def _close(self, call: Call) -> None:
        self._open.pop(call.key, None)
        call.end()
        if call.blocks and not self.blocking:
            self._caller.unpause()

    def _on_free(self, offsets: tuple[int, ...]) -> None:
        for offset in offsets:
            if offset not in self._lent:
                raise MessageError(f"a free of {offset}, which was not lent")
            call = self._lent.pop(offset)
            self._requests.arena.free(offset)
            if call is not None:
                call.unread -= 1
                call.go_on()

    def _on_cancel(self, key: int) -> None:
        call = self._open.get(key)
        if call is not None:
            self._give_up(call, ServerError(ErrorCode.CANCELLED, "the call was cancelled"))

    def _time(self, call: Call, timeout_us: int) -> None:
        error = unavailable(f"model '{call.stream.model.name}' gave no answer within {timeout_us} microseconds")
        call.timer = self._loop.call_later(timeout_us / 1e6, self._give_up, call, error)

    def _give_up(self, call: Call, error: ServerError) -> None:
        call.stream.cancel()
        call.end()
        self._answer(call, FINAL, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _control(self, key: int, asked: dict[str, Any]) -> None:
        said: dict[str, Any] = {"key": key}
        if self._caller is None:
            return  # it died meanwhile
        try:
            said["value"] = await self._services.control(self._caller, asked)
        except ServerError as error:
            said.update(code=int(error.code), message=error.message)
        except Exception:
            log.exception("%s: what it asked (%s) failed", self._name, asked.get("what"))
            said.update(code=int(ErrorCode.INTERNAL), message="internal error: see the server's log")
        self._link.send(pack_json(messages.CONTROLLED, said))


def _key(said: dict[str, Any]) -> int:
    key = said.get("key")
    if not isinstance(key, int):
        raise MessageError("a question without a key")
    return key


def _told(error: ServerError) -> bytes:
    return orjson.dumps({"message": error.message.encode("utf-8", "replace").decode()})
