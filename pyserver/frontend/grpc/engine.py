"""The engine seam: what an HTTP/2 engine is to the rest of the gRPC front end.

An engine runs beside the main loop, in threads of its own. It turns each unary request into a `Call`, begins it on the
main loop, where the `Bridge` takes it, and is told there, by `done` or `refuse`, how it went. Streams are coroutines
on the engine's own loop (`StreamMethod`).
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from pyserver.errors import ErrorCode, ServerError, internal, unavailable
from pyserver.frontend.tls import TlsFiles
from pyserver.model.model import DecoupledError
from pyserver.observe.formats import single
from pyserver.payload import Reply, Ticket

log = logging.getLogger(__name__)

MAX_MESSAGE = 2**31 - 1
"""The largest message in either direction, in bytes: INT32_MAX, as in Triton."""

RESOURCE_EXHAUSTED = 8
"""gRPC's own code for a message that is larger than the limit; no `ServerError` has it."""

STOPPING = "GRPC server is shutting down and has stopped accepting new requests."


Metadata = Sequence[tuple[str, str]]


def _never(result: Any) -> bool:
    return False


def _nothing(result: Any) -> None:
    pass


def _raise(error: ServerError) -> Any:
    raise error


Heed = Callable[[Any, Mapping[str, str]], None]
"""Looks at a request, or None, and the metadata of its call."""


class Method(NamedTuple):
    """A unary RPC in three steps, so that only the middle one runs on the main loop.

    `decode` and `encode` are pure and may run in any thread; `run` takes what `decode` made and returns what `encode`
    takes, or an asyncio.Future of it (cancelled when the client goes away). All three may raise a ServerError; that of
    `decode` goes by way of `blame`, which runs on the main loop and raises what the client is to hear. What
    `run` returned is given to `drop` on the main loop, exactly once: when it is encoded, or when nobody waits for it
    any more. `quick` says that encoding a result costs less than a crossing, so that it is done on the main loop.
    `submit`, where there is one, stands for `run` and has the result come to a `Reply` instead of a future.
    `heed`, where there is one, looks at each call's metadata before it runs, and at what `decode` made of it: it may
    add to that, or raise the ServerError of a call that is not welcome.
    `attach` tells a request what metadata came with it, `trailers` gives those that go with a result; not every engine
    has them.
    """

    path: str
    decode: Callable[[bytes], Any]
    run: Callable[[Any], Any]
    encode: Callable[[Any], bytes]
    quick: Callable[[Any], bool] = _never
    drop: Callable[[Any], None] = _nothing
    blame: Callable[[ServerError], Any] = _raise
    submit: Callable[[Any, Reply], Ticket] | None = None
    heed: Heed | None = None
    attach: Callable[[Any, Metadata], None] | None = None
    trailers: Callable[[Any], Metadata] | None = None


class Stream(Protocol):
    """A stream of messages with one client, on the engine's loop.

    `hung_up` is set when the server is about to stop: the iteration ends, what was accepted is answered, and the engine
    ends the stream as UNAVAILABLE when its handler returns.
    """

    metadata: Mapping[str, str]
    hung_up: asyncio.Event

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The client's messages, until it has no more."""

    async def write(self, message: bytes) -> None:
        """Send a message; waits while the client reads slowly."""

    def trail(self, metadata: Metadata) -> None:
        """What is to go with its status."""

    async def abort(self, code: int, message: str) -> None:
        """End the stream with a gRPC status; raises, so that the handler ends as well."""


class StreamMethod(NamedTuple):
    """A streaming RPC: `serve` is a coroutine on the engine's loop, cancelled when the client goes away.

    `asks` says that the client streams as well; otherwise it sends one message. `heed` looks at the metadata of each
    stream before it is served (with None for a request).
    """

    path: str
    serve: Callable[[Stream], Awaitable[None]]
    asks: bool = True
    heed: Heed | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked of an engine. Times are in milliseconds, None for never; the defaults are Triton's.

    `max_metadata` is bytes of one call, `max_concurrent_streams` calls of one connection, `max_connections` how many
    are open (None: any number); `handshake_timeout_ms` is how long a client may take to begin to speak HTTP/2;
    `compression` (none, low, medium, high) is the level for responses.
    """

    max_message: int = MAX_MESSAGE
    max_metadata: int = 16384
    max_concurrent_streams: int = 1024
    max_connections: int | None = None
    handshake_timeout_ms: int = 10_000
    keepalive_time_ms: int = 7_200_000
    keepalive_timeout_ms: int = 20_000
    keepalive_permit_without_calls: bool = False
    max_pings_without_data: int = 2
    min_recv_ping_interval_without_data_ms: int = 300_000
    max_ping_strikes: int = 2
    max_connection_age_ms: int | None = None
    max_connection_age_grace_ms: int | None = None
    compression: str = "none"
    reuse_port: bool = False
    tls: TlsFiles | None = None


class Engine(Protocol):
    """Serves methods on one address. `start`, `drain` and `stop` block, and are called from a worker thread."""

    name: str

    def start(
        self, address: str, port: int, methods: Sequence[Method], streams: Sequence[StreamMethod], options: Options
    ) -> int:
        """Listen, and return the port, which matters where it was 0 for any. ServerError if it can't be had."""

    def stop_accepting(self) -> None:
        """New calls get UNAVAILABLE; streams are hung up. Doesn't block."""

    def drain(self, timeout: float) -> bool:
        """Wait, after `stop_accepting`, for what was accepted, at most `timeout` seconds; whether all was answered."""

    def stop(self) -> None:
        """Close every connection and end the engine's threads. Calls that still run get UNAVAILABLE."""


class Call:
    """One unary request on its way: decoded, run on the main loop, answered once. It is a `pyserver.payload.Reply`.

    `gone` turns true, from the engine's thread, when the client left or its deadline passed; `over` on the main loop,
    when it is answered or refused: what comes afterwards is dropped.
    """

    __slots__ = ("gone", "method", "over", "request", "ticket")

    def __init__(self, method: Method, message: bytes) -> None:
        self.gone = self.over = False
        self.ticket: Ticket | None = None
        try:
            self.request = method.decode(message)
        except Exception as error:
            self.request = explain(error, method.path)
            method = method._replace(run=method.blame, submit=None)
        self.method = method

    def step(self) -> None:
        """On the main loop: begin, or, called again because the client has gone, cancel what was begun."""
        if self.gone:
            self._abandon()
            return
        request, self.request = self.request, None
        submit = self.method.submit
        try:
            ticket: Any = self.method.run(request) if submit is None else submit(request, self)
        except Exception as error:
            self.fail(explain(error, self.method.path, str(getattr(request, "id", ""))))
            return
        if submit is not None:
            self.ticket = None if self.over else ticket
        elif isinstance(ticket, Future):
            self.ticket = ticket
            ticket.add_done_callback(partial(self._settle, str(getattr(request, "id", ""))))
        else:
            self.answer(ticket, True)

    def _settle(self, request_id: str, future: Future[Any]) -> None:
        if future.cancelled():
            self.fail(ServerError(ErrorCode.CANCELLED, "the request was cancelled"))
            return
        error = future.exception()
        if error is not None:
            self.fail(explain(error, self.method.path, request_id))
        else:
            self.answer(future.result(), True)

    def answer(self, response: Any, final: bool) -> None:
        """On the main loop: take the result."""
        self.ticket = None
        if not self.over and not self.gone:
            self.over = True
            self.done(response)
            return
        self.method.drop(response)
        self.fail(ServerError(ErrorCode.CANCELLED, "the client has gone"))

    def fail(self, error: ServerError) -> None:
        """On the main loop: take the error."""
        self.ticket = None
        if not self.over:
            self.over = True
            self.refuse(error)

    def _abandon(self) -> None:
        ticket = self.ticket
        self.fail(ServerError(ErrorCode.CANCELLED, "the client has gone"))
        if ticket is not None:
            ticket.cancel()

    def done(self, result: Any) -> None:
        """On the main loop: encode `result`, wherever that is best done, and send it."""
        raise NotImplementedError

    def refuse(self, error: ServerError) -> None:
        """From any thread: end the call with an error."""
        raise NotImplementedError


def explain(error: BaseException, path: str, request_id: str = "") -> ServerError:
    """`error` as something to tell the client; what we didn't mean to raise is logged."""
    if isinstance(error, DecoupledError):
        return DecoupledError(f"{path.rpartition('/')[2]} RPC")
    if isinstance(error, ServerError):
        return error
    log.error("%s failed [%s]", path, single(request_id), exc_info=error)
    return internal(f"{path} failed: {type(error).__name__}")


def encoded(method: Method, result: Any, limit: int) -> bytes:
    """The reply's bytes. ServerError if it is larger than `limit`, or can't be made."""
    try:
        message = method.encode(result)
    except Exception as error:
        raise explain(error, method.path) from error
    if len(message) > limit:
        raise internal(f"Response has byte size {len(message)} which exceeds gRPC's byte size limit {limit}.")
    return message


def encoded_at_home(method: Method, result: Any, limit: int) -> bytes:
    """As `encoded`, on the main loop; the result is dropped."""
    try:
        return encoded(method, result, limit)
    finally:
        method.drop(result)


def stopping() -> ServerError:
    """What a call gets that comes after the end of the day."""
    return unavailable(STOPPING)
