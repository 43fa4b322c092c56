"""The process of a server: its loop, its memory, its signals."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
import sys
from typing import Protocol

from pyserver.core import heap
from pyserver.errors import ServerError
from pyserver.instance.process import show_all_stacks
from pyserver.observe.log import Log
from pyserver.server.server import Server
from pyserver.settings import Settings

log = logging.getLogger(__name__)

HEAP_BLOCKS = 32 << 20
HEAP_KEPT = 64 << 20
"""Blocks of fewer bytes than HEAP_BLOCKS come from the heap, which keeps HEAP_KEPT bytes when they are free. A message
of 1 MB is else mapped, faulted in page by page and unmapped in each of its copies: 200-400 page faults a request, a
third of its whole cost over gRPC."""


class Watcher(Protocol):
    """Who shows people how a server starts."""

    def starting(self, server: Server) -> None:
        """Its models are about to load."""

    def started(self, server: Server) -> None:
        """It is ready."""

    def ended(self) -> None:
        """It goes, perhaps before it was ready."""


def serve(settings: Settings, log: Log | None = None, watcher: Watcher | None = None) -> int:
    """Run a server until SIGINT or SIGTERM; the exit status is 0 if it started and ended in order."""
    heap.keep(HEAP_BLOCKS, HEAP_KEPT)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_run(settings, log, watcher))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _run(settings: Settings, shown: Log | None, watcher: Watcher | None) -> int:
    loop = asyncio.get_running_loop()
    _show_stacks_on_signal(loop)
    signalled = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    try:
        server = Server(settings, shown)
    except ServerError as error:
        log.error("%s", error.message)
        return 1
    if watcher is not None:
        watcher.starting(server)
    starting = loop.create_task(server.start())
    waiting = loop.create_task(signalled.wait())
    await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        if started := starting.result():
            if watcher is not None:
                watcher.started(server)
            log.info("ready: %s", settings.id)
            await waiting
    else:
        starting.cancel()
        await asyncio.wait((starting,))
        started = True
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _second_signal)
    waiting.cancel()
    if watcher is not None:
        watcher.ended()
    await server.stop()
    return 0 if started else 1


def _show_stacks_on_signal(loop: asyncio.AbstractEventLoop) -> None:
    """SIGUSR1 writes the stacks of all threads to the log: the server's, by the C library's means, so that a loop that
    is stuck shows where; and, if it is not, each stub's.
    """
    loop.add_signal_handler(signal.SIGUSR1, show_all_stacks)
    streams = [handler.stream for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    faulthandler.register(signal.SIGUSR1, file=streams[0] if streams else sys.stderr, chain=True)


def _second_signal() -> None:
    """Whoever asks twice means now: the stubs go with the server (PR_SET_PDEATHSIG)."""
    log.warning("second signal: exiting at once")
    raise SystemExit(1)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
