"""The life of a stub: hello, load, initialize, payloads, finalize."""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from typing import Any, Callable

import numpy as np

from pyserver.ipc import messages
from pyserver.ipc.arena import Arena, Mapping
from pyserver.ipc.channel import Channel
from pyserver.ipc.envelope import BACKEND
from pyserver.ipc.words import CONTROL_BYTES, control_words
from pyserver.stub import calls, directories, executing, failures, loading, logger, lookup
from pyserver.stub.answers import Answers
from pyserver.stub.execution import Execution
from pyserver.stub.heartbeat import Heartbeat
from pyserver.stub.outbox import Outbox
from pyserver.stub.pacing import Pacing
from pyserver.stub.request import Desk, RequestLayouts
from pyserver.stub.stream_execution import StreamExecution

_IDLE_SECONDS = 10


class Gone(Exception):  # noqa: N818 - an end, not an error
    """The server has closed its end: there is nobody to work for."""


class Stub:
    """One process of one model, over its two channels and its two arenas, given by their descriptors."""

    def __init__(self, channel_fd: int, request_fd: int, response_fd: int, calls_fd: int) -> None:
        for fd in (channel_fd, request_fd, response_fd, calls_fd):
            os.set_inheritable(fd, False)  # what the model starts is to hold none of them
        sock = socket.socket(fileno=channel_fd)
        # A blocking receive that looks up now and then costs nothing on the way; a poll before each one would.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _IDLE_SECONDS, 0))
        self._channel = Channel(sock)
        self._receiving = threading.Lock()
        self._arena = Arena(response_fd, reserved=CONTROL_BYTES)
        self._control = control_words(self._arena.view)
        self._outbox = Outbox(self._channel)
        self._answers = Answers(self._arena, self._collect)
        memory = Mapping(request_fd).view
        self._desk = Desk(memory, self._answers, self._outbox)
        self._calls = calls.connect(calls_fd, self._answers, memory, self._outbox.flush)
        self._records: deque[tuple[Any, ...]] = deque()  # received, in order, and not acted on
        self._load: loading.Load | None = None
        self._model_class: Any = None
        self._model: Any = None
        self._execution: Execution | None = None
        self._handlers: dict[int, Callable[[bytes], None]] = {
            messages.LOAD: self._on_load,
            messages.INITIALIZE: self._on_initialize,
            messages.FINALIZE: self._on_finalize,
            messages.LEVELS: self._on_levels,
        }
        self._pacing = Pacing()
        self._heartbeat = Heartbeat(self._control)
        self.finalized = False

    def run(self) -> None:
        """Serve until FINALIZE, or the end of the server (`Gone`)."""
        logger.send_to(self._log)
        self._outbox.say(messages.pack_json(messages.HELLO, _hello()))
        while not self.finalized:
            if not self._records:
                self._receive()
            self._work()

    def _work(self) -> None:
        """Act on everything that was received."""
        records, outbox, pacing, control = self._records, self._outbox, self._pacing, self._control
        now = 0
        while records:
            record = records.popleft()
            if record[0] != messages.EXECUTE:
                outbox.flush()
                self._handlers[record[0]](record[1])
                continue
            execution = self._execution
            if execution is None:
                raise messages.MessageError("an EXECUTE before INITIALIZE")
            now = execution.run(record[1], record[2], control)
            if not pacing.may_wait(execution.took_ns, now):
                outbox.flush()
        outbox.flush()
        pacing.sent()
        if now:
            self._answers.trim(now)

    def _receive(self) -> None:
        """Wait for a message, unless another thread has received one meanwhile."""
        while True:
            execution = self._execution
            if execution is not None and execution.unfinished and not execution.wait(self._channel.fileno()):
                if self._records:
                    return
                continue
            with self._receiving:
                if self._records:
                    return
                try:
                    self._take(self._channel.receive())
                    return
                except BlockingIOError:
                    pass
            self._answers.trim(time.monotonic_ns())

    def _take(self, message: bytes) -> None:
        """What frees memory is done at once, the rest waits its turn."""
        if not message:
            raise Gone
        for record in messages.from_server(message):
            if record[0] == messages.FREE:
                self._answers.free(record[1])
            else:
                self._records.append(record)

    def _collect(self) -> None:
        """Read what the server has sent meanwhile, in any thread: it may have given blocks back.

        Nothing is done where somebody receives already: he does it.
        """
        if not self._receiving.acquire(False):
            return
        try:
            poll = select.poll()
            poll.register(self._channel.fileno(), select.POLLIN)
            while poll.poll(0):
                message = self._channel.receive()
                if not message:
                    return  # its end is for the main thread to see
                self._take(message)
        finally:
            self._receiving.release()

    def _on_load(self, body: bytes) -> None:
        config = None
        try:
            load = self._load = loading.Load(messages.unpack_json(body))
            self._arena.budget = load.response_bytes or self._arena.size
            directories.set_model_dir(load.version_directory)
            if load.config.get("backend") == BACKEND:
                from pyserver.stub.mlserver.host import Host  # only who needs it waits for it

                self._model_class = Host(load)
            else:
                self._model_class = loading.imported_class(load)
                config = loading.completed_config(self._model_class, load)
        except BaseException as error:
            self._say(messages.LOADED, failures.report(error))
        else:
            self._say(messages.LOADED, {"config": config})

    def _on_initialize(self, body: bytes) -> None:
        try:
            load = self._load
            if load is None or self._model_class is None:
                raise messages.MessageError("an INITIALIZE before a LOAD that succeeded")
            args = messages.unpack_json(body)
            if load.config.get("backend") == BACKEND:
                self._initialize_mlserver()
                return
            config = json.loads(args.get("model_config", "{}"))
            self._model = loading.initialized(self._model_class, args)
            layouts = RequestLayouts(_outputs(config))
            kind = StreamExecution if lookup.using_decoupled_model_transaction_policy(config) else Execution
            self._execution = kind(self._model, load.model_file, load.instance_name, layouts, self._desk)
            # What a model holds from here on is for good: full collections need not walk it again and again.
            gc.freeze()
        except BaseException as error:
            self._say(messages.INITIALIZED, failures.report(error))
            return
        self._initialized()

    def _initialize_mlserver(self) -> None:
        from pyserver.stub.mlserver.execution import MLServerExecution

        host = self._model = self._model_class
        host.load()
        self._execution = MLServerExecution(host, RequestLayouts(frozenset()), self._desk)
        gc.freeze()
        self._initialized(metadata=host.metadata, handlers=host.handlers.routes, feeds=host.feeds)

    def _initialized(self, **fields: Any) -> None:
        self._heartbeat.stop()
        probe = getattr(self._model, "is_ready", None)
        if probe is not None:
            self._calls.probe = probe
            self._calls.start()
            fields["is_ready"] = True
        self._say(messages.INITIALIZED, fields)

    def _on_finalize(self, _: bytes) -> None:
        fields: dict[str, Any] = {}
        try:
            finalize = getattr(self._model, "finalize", None)
            if finalize is not None:
                finalize()
        except BaseException as error:
            fields = failures.report(error)
        self.finalized = True
        self._say(messages.FINALIZED, fields)

    def _on_levels(self, body: bytes) -> None:
        logger.hear(messages.unpack_json(body)["levels"])

    def _say(self, kind: int, fields: dict[str, Any]) -> None:
        try:
            record = messages.pack_json(kind, fields)
        except (TypeError, ValueError) as error:
            record = messages.pack_json(kind, {"error": f"not JSON: {error}", "traceback": ""})
        self._outbox.say(record)

    def _log(self, level: int, message: str, file: str, line: int) -> None:
        fields = {"level": level, "message": message, "file": file, "line": line}
        identities = executing.ids()
        if identities:
            fields["requests"] = identities
        self._say(messages.LOG, fields)


def main(channel_fd: int, request_fd: int, response_fd: int, calls_fd: int) -> int:
    """Run a stub over these descriptors; return the process's exit status."""
    logger.open_streams()
    stub = Stub(channel_fd, request_fd, response_fd, calls_fd)
    try:
        stub.run()
    except Gone:
        # Threads of the model may still run, and nobody is left who would end them.
        sys.stderr.flush()
        os._exit(1)
    return 0


def _hello() -> dict[str, Any]:
    return {
        "version": messages.VERSION,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "numpy": np.__version__,
        "pid": os.getpid(),
    }


def _outputs(config: dict[str, Any]) -> frozenset[str]:
    return frozenset(output["name"] for output in config.get("output", ()))
