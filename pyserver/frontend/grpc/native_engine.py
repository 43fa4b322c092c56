"""The engine on `pygrpc-native`: HTTP/2 in Rust outside the GIL, calls to our side thread in batches, answers from any
thread; grpcio stands behind it, on a Unix socket, for what streams.

What `NativeGrpcFront` 0.5 was found to do, beside what its documentation says:

* Unary and server-streaming methods are its own; every other path, known or not, goes to the fallback on the same port.
  A bidirectional stream through it kept its metadata, deadline, status text and 64 MiB messages; its peer is lost.
  The socket may be an abstract one, so that there is no file to leave behind.
* A client's cancellation, its deadline and its disconnection come as EVENT_CANCEL, for unary calls only where
  `call_details` is set; `recv_batch` still leaves the details out then, and costs no more. Answering such a call
  returns False and harms nothing.
* A status message may hold any text (it is percent-encoded). Messages up to INT32_MAX pass; `respond` keeps a
  reference to its bytes and copies nothing. Compressed requests: gzip only; deflate is answered with UNIMPLEMENTED.
* A compressed message is inflated whole before its size can be looked at, and without a limit (3 MB of gzip took 3 GiB;
  grpcio stops at its largest message). Nothing of it turns gzip off, and nobody sees a call's headers before: so a
  limit below INT32_MAX is grpcio's business, `auto` takes this engine only where nobody but this host can connect, and
  `INFLATES` is logged where it was asked for by name elsewhere.
* One thread of ours waits in `recv_batch`, for there is no descriptor to give to a loop. It hands each batch over as it
  is; calls are decoded, begun and answered on the main loop, so that thread needs the GIL only for a moment. A shorter
  switch interval (0.1, 0.5 ms) made no difference beyond the noise.
* A message of 1 MB is copied three times in Python's threads (out of Rust, into the request arena, out of the response
  arena) and gathered once from frames of 16 KB; the rest of its cost is the kernel's. See also HEAP_KEPT.
* `close` sends GOAWAY, ends what runs with UNAVAILABLE, and drops even answers that `respond` has taken but the
  network has not; nothing sends GOAWAY and waits. So `drain` refuses what is new by status, waits until all is answered
  and the kernel has nothing outgoing on the port, and only then closes.
* Calls of one connection are limited (`max_concurrent_streams`), connections are not: it accepts them in Rust, shows
  none of them, and has no option for it. Each costs a descriptor, so `ulimit -n` ends it; what calls may wait for is
  bounded by the models' queues. A limit is grpcio's business.
* No TLS, no connection age, no response compression: `unserved` names what was asked for of these. Limits on a
  client's pings are taken and not enforced.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pyserver.errors import ServerError
from pyserver.frontend.address import refused, target, try_bind
from pyserver.frontend.grpc.bridge import Bridge, Crossing
from pyserver.frontend.grpc.engine import (
    MAX_MESSAGE,
    RESOURCE_EXHAUSTED,
    Call,
    Method,
    Options,
    StreamMethod,
    encoded_at_home,
    stopping,
)
from pyserver.frontend.grpc.grpcio_engine import GrpcioEngine
from pyserver.frontend.grpc.outgoing import wait_sent
from pyserver.protocol import status

log = logging.getLogger(__name__)
native: Any = None
try:
    native = importlib.import_module("pygrpc_native")
except ImportError as error:
    log.debug("pygrpc-native is not here: %s", error)

INFLATES = (
    "gzip of gRPC requests inflates without a limit on the engine pygrpc-native: where clients are not trusted, take "
    "--grpc-engine=grpcio"
)
BATCH = 64
IO_THREADS = 1


def unserved(options: Options) -> str:
    """Why this engine can't be had, with these options; empty if it can."""
    if native is None:
        return "pygrpc-native is not installed"
    wanted = Options()
    fixed = (
        "max_message",
        "max_connections",
        "max_connection_age_ms",
        "max_connection_age_grace_ms",
        "compression",
        "tls",
    )
    asked = [name for name in fixed if getattr(options, name) != getattr(wanted, name)]
    return f"pygrpc-native does not serve {', '.join(asked)}" if asked else ""


class NativeEngine:
    """Unary methods that look at no metadata by pygrpc-native, the rest by grpcio behind it."""

    name = "pygrpc-native"

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._behind = GrpcioEngine(bridge)
        self._arrived: Crossing[list[Any]] = Crossing(bridge.loop, self._take)
        self._front: Any = None
        self._serving: threading.Thread | None = None
        self._methods: list[Method] = []
        self.open: dict[int, _Call] = {}
        self._empty = threading.Condition()
        self.draining = False
        self.respond: Callable[[int, bytes], bool]
        self.fail: Callable[[int, int, str], bool]

    def start(
        self, address: str, port: int, methods: Sequence[Method], streams: Sequence[StreamMethod], options: Options
    ) -> int:
        """Listen, and begin to serve."""
        # A batch of calls comes without their metadata: whoever looks at it is served by grpcio.
        self._methods = [method for method in methods if method.heed is None]
        heeding = [method for method in methods if method.heed is not None]
        self._front = _listen(address, port, self._methods, options)
        self.respond, self.fail = self._front.respond, self._front.fail
        behind = f"pyserver-{os.getpid()}-{secrets.token_hex(8)}"
        self._behind.start_behind(behind, heeding, streams, options)
        self._front.set_fallback(f"\0{behind}")
        self._front.start()
        self._serving = threading.Thread(target=self._serve, name="grpc", daemon=True)
        self._serving.start()
        bound: int = self._front.bound_port
        return bound

    def stop_accepting(self) -> None:
        """Refuse new calls by status; streams end after the answers they owe."""
        self.draining = True
        self._behind.stop_accepting()

    def drain(self, timeout: float) -> bool:
        """Wait for what was accepted, until its answers have left."""
        until = time.monotonic() + timeout
        with self._empty:
            answered = self._empty.wait_for(lambda: not self.open, timeout)
        answered = self._behind.drain(max(0.0, until - time.monotonic())) and answered
        return answered and wait_sent(self._front.bound_port, max(0.0, until - time.monotonic()))

    def stop(self) -> None:
        """Close every connection and end the threads."""
        if self._front is not None:
            self._front.close()
        if self._serving is not None:
            self._serving.join()
        self._behind.stop()

    def _serve(self) -> None:
        """In the side thread: wait for calls, and hand them over as they are: work here keeps the loop from the GIL."""
        receive, post = self._front.recv_batch, self._arrived.post
        while (events := receive(BATCH)) is not None:
            post(events)

    def _take(self, events: list[Any]) -> None:
        """On the main loop: begin the calls, and cancel those whose clients have gone."""
        for kind, key, index, payload, _ in events:
            if kind == native.EVENT_CALL:
                self._begin(key, self._methods[index], payload)
            else:
                self._gone(key)

    def _begin(self, key: int, method: Method, payload: bytes) -> None:
        if self.draining:
            refusal = stopping()
            self.fail(key, status.grpc_code(refusal), refusal.message)
            return
        if len(payload) > MAX_MESSAGE:
            self.fail(key, RESOURCE_EXHAUSTED, f"Received message larger than max ({len(payload)} vs. {MAX_MESSAGE})")
            return
        self.open[key] = call = _Call(method, payload, self, key)
        call.step()

    def _gone(self, key: int) -> None:
        call = self.open.get(key)
        if call is not None:
            call.gone = True
            call.step()

    def elsewhere(self, call: _Call, result: Any) -> None:
        """Let the other side thread encode."""
        self._behind.run(functools.partial(call.send, result, self._bridge.encoded_away))

    def closed(self) -> None:
        """A call was answered while the engine drains: it may have been the last."""
        if not self.open:
            with self._empty:
                self._empty.notify_all()


class _Call(Call):
    __slots__ = ("engine", "key")

    def __init__(self, method: Method, message: bytes, engine: NativeEngine, key: int) -> None:
        super().__init__(method, message)
        self.engine = engine
        self.key = key

    def done(self, result: Any) -> None:
        if self.method.quick(result):
            self.send(result, encoded_at_home)
        else:
            self.engine.elsewhere(self, result)

    def send(self, result: Any, encode: Callable[[Method, Any, int], bytes]) -> None:
        """Encode here and now."""
        try:
            message = encode(self.method, result, MAX_MESSAGE)
        except ServerError as error:
            self.refuse(error)
            return
        engine = self.engine
        if engine.open.pop(self.key, None) is not None:
            engine.respond(self.key, message)
        if engine.draining:
            engine.closed()

    def refuse(self, error: ServerError) -> None:
        engine = self.engine
        if engine.open.pop(self.key, None) is not None:
            engine.fail(self.key, status.grpc_code(error), status.told(error.message))
        if engine.draining:
            engine.closed()


def _listen(address: str, port: int, methods: Sequence[Method], options: Options) -> Any:
    if not options.reuse_port:
        try_bind(address, port)
    try:
        return native.NativeGrpcFront(
            target(address, port),
            [(method.path, False) for method in methods],
            io_threads=IO_THREADS,
            call_details=True,
            keepalive_time_ms=options.keepalive_time_ms,
            keepalive_timeout_ms=options.keepalive_timeout_ms,
            keepalive_permit_without_calls=options.keepalive_permit_without_calls,
            max_concurrent_streams=options.max_concurrent_streams,
            max_metadata_size=options.max_metadata,
            reuse_port=options.reuse_port,
        )
    except OSError as error:
        raise refused(address, port, error) from None
