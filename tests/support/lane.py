"""What a lane needs around it in a test: a data plane that echoes, an application, a transport without a socket."""

from __future__ import annotations

import asyncio

from tornado.web import Application, RequestHandler, stream_request_body

from pyserver import payload
from pyserver.errors import ServerError, not_found
from pyserver.frontend.rest.lane.connection import Connection
from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.model.answer import relay
from pyserver.observe.log import Log
from pyserver.observe.traces import Traces
from pyserver.types import InferRequest, InferResponse, Tensor


class Block:
    """A piece of a pretended arena. Poisoned when released: whoever reads it afterwards reads nonsense."""

    def __init__(self, plane: EchoPlane, data: bytearray) -> None:
        self.plane = plane
        self.data = data
        self.view = memoryview(data)
        self.held = True
        plane.leases += 1

    def release(self) -> None:
        if self.held:
            self.held = False
            self.plane.leases -= 1
            self.data[:] = b"\xee" * len(self.data)


class EchoPlane:
    """Answers with its inputs, out of memory that is held until released. `hold` leaves answers to `answer`."""

    def __init__(self) -> None:
        self.leases = 0
        self.log = Log()
        self.traces = Traces()
        self.reserved = 0
        self.lends = True
        self.hold = False
        self.at_once = False
        self.error: ServerError | None = None
        self.pending: list[tuple[InferRequest, asyncio.Future[InferResponse]]] = []
        self.requests: list[InferRequest] = []
        self.cancelled = 0

    def of_mlserver(self, name: str, version: str) -> bool:
        self.check(name, version)
        return False

    def check(self, name: str, version: str) -> None:
        if name != "echo":
            raise not_found(f"Request for unknown model: '{name}' is not found")

    def reserve(self, name: str, version: str, nbytes: int, header: int) -> Block | None:
        self.check(name, version)
        if not self.lends:
            return None
        self.reserved += 1
        return Block(self, bytearray(nbytes))

    def infer(self, request: InferRequest) -> asyncio.Future[InferResponse]:
        if self.error is not None:
            raise self.error
        loop = asyncio.get_running_loop()
        future: asyncio.Future[InferResponse] = loop.create_future()
        self.requests.append(request)
        self.pending.append((request, future))
        if self.at_once:
            self.answer()
        elif not self.hold:
            loop.call_soon(self.answer)
        return future

    def submit(self, request: InferRequest, reply: payload.Reply, *received: object) -> payload.Ticket:
        future = self.infer(request)
        if not self.at_once:
            return relay(future, reply)
        reply.answer(future.result(), True)
        return future

    def answer(self, index: int = 0) -> None:
        """Answer the `index`th of what is pending."""
        request, future = self.pending.pop(index)
        block = Block(self, bytearray(b"".join(bytes(tensor.data) for tensor in request.inputs)))
        if future.cancelled():
            self.cancelled += 1
            block.release()
            return
        outputs, at = [], 0
        for tensor in request.inputs:
            size = len(tensor.data)
            outputs.append(Tensor(tensor.name, tensor.datatype, tensor.shape, block.view[at : at + size]))
            at += size
        future.set_result(InferResponse(request.model_name, "1", request.id, outputs, None, block))

    def drop_cancelled(self) -> None:
        for index in reversed(range(len(self.pending))):
            if self.pending[index][1].cancelled():
                self.answer(index)


class Undated(RequestHandler):
    """Answers the same at any time."""

    def set_default_headers(self) -> None:
        self.clear_header("Date")


class Nowhere(Undated):
    def prepare(self) -> None:
        self.send_error(404)


class Hello(Undated):
    def get(self) -> None:
        self.finish({"hello": self.get_argument("name", "world"), "from": self.request.remote_ip})

    def post(self) -> None:
        self.set_header("X-Length", str(len(self.request.body)))
        self.finish(self.request.body)

    def delete(self) -> None:
        self.set_status(204)


class Stream(Undated):
    """Pieces, each behind a flush; the pieces that could be sent are counted."""

    sent = 0
    closed = 0

    async def get(self, count: str, size: str) -> None:
        for _ in range(int(count)):
            self.write(b"x" * int(size))
            await self.flush()
            Stream.sent += 1

    def on_connection_close(self) -> None:
        Stream.closed += 1


class Silent(Undated):
    """Never answers."""

    closed = 0

    async def get(self) -> None:
        await asyncio.Event().wait()

    def on_connection_close(self) -> None:
        Silent.closed += 1


@stream_request_body
class Upload(Undated):
    """Takes its body one piece at a time, each when `gate` is open."""

    gate: asyncio.Event
    lost = 0

    def initialize(self) -> None:
        self.received = 0
        self.pieces = 0

    async def data_received(self, chunk: bytes) -> None:
        await self.gate.wait()
        self.received += len(chunk)
        self.pieces += 1

    def post(self) -> None:
        self.finish({"received": self.received})

    def on_connection_close(self) -> None:
        super().on_connection_close()
        Upload.lost += 1


@stream_request_body
class Impatient(Undated):
    """Answers before it has seen the body."""

    def prepare(self) -> None:
        self.set_status(403)
        self.finish("no")

    def data_received(self, chunk: bytes) -> None:
        raise AssertionError("not wanted")

    def post(self) -> None:
        raise AssertionError("not wanted")


class Broken(Undated):
    def get(self) -> None:
        self.set_header("Content-Length", "10")
        self.write(b"too short")
        self.finish()


def application() -> Application:
    routes = [
        ("/hello", Hello),
        ("/stream/([0-9]+)/([0-9]+)", Stream),
        ("/silent", Silent),
        ("/upload", Upload),
        ("/impatient", Impatient),
        ("/broken", Broken),
    ]
    return Application(routes, default_handler_class=Nowhere, log_function=lambda handler: None)


class FakeTransport:
    """What a connection writes to, when no socket is wanted. `room` bytes are taken at once; the rest is held by
    reference until `take`, as uvloop does."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.sent = bytearray()
        self.unread = b""
        self.queue: list[memoryview] = []
        self.protocol: Connection | None = None
        self.paused_reading = False
        self.closing = False
        self.aborted = False
        self.eof = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.queue))

    def write(self, data: bytes) -> None:
        self.writelines([data])

    def writelines(self, buffers: list[bytes]) -> None:
        assert not self.eof
        for buffer in buffers:
            view = memoryview(buffer)
            now = 0 if self.queue else min(self.room, len(view))
            self.sent += view[:now]
            self.room -= now
            if now < len(view):
                self.queue.append(view[now:])
        if self.queue:
            assert self.protocol is not None
            self.protocol.pause_writing()

    def take(self, count: int) -> None:
        """The client reads `count` more."""
        while self.queue and count:
            view = self.queue.pop(0)
            self.sent += view[:count]
            if len(view) > count:
                self.queue.insert(0, view[count:])
            count -= min(count, len(view))
        if not self.queue:
            assert self.protocol is not None
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.paused_reading = True

    def resume_reading(self) -> None:
        self.paused_reading = False
        asyncio.get_running_loop().call_soon(self.feed, b"")

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def feed(self, data: bytes) -> None:
        """Deliver `data`, in as many reads as it takes, while the connection reads."""
        self.unread += data
        assert self.protocol is not None
        while self.unread and not self.closing and not self.paused_reading:
            into = self.protocol.get_buffer(-1)
            count = min(len(into), len(self.unread))
            into[:count] = self.unread[:count]
            self.unread = self.unread[count:]
            self.protocol.buffer_updated(count)


class Wired:
    """A connection of `lane` on a fake transport."""

    def __init__(self, lane: LaneServer, room: int = 1 << 30) -> None:
        self.transport = FakeTransport(room)
        self.protocol = Connection(lane)
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]

    @property
    def sent(self) -> bytes:
        return bytes(self.transport.sent)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.transport.feed(piece)

    def lose(self) -> None:
        self.transport.closing = True
        self.protocol.connection_lost(None)


async def settle(turns: int = 12) -> None:
    """Let the loop turn."""
    for _ in range(turns):
        await asyncio.sleep(0)
