"""How a stub comes into the world: what it is given, and how it is forked or started."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from pyserver.instance.descendants import VARIABLE
from pyserver.instance.forkserver import ForkServers
from pyserver.instance.spec import InstanceSpec
from pyserver.ipc import arena, channel

FOREGROUND = "PYSERVER_FOREGROUND"
"""Set for a stub that has the terminal: it obeys Ctrl-C, and leaves its streams as they are."""


class Born(NamedTuple):
    """A process just started: the mark in its environment, its stdout and stderr, and what reaps it once it is dead.

    One that was started in the foreground has the server's streams, and is in its group.
    """

    pid: int
    mark: str
    streams: tuple[int, ...]
    reap: Callable[[], object]


class Wires:
    """What ties a stub to the server: two channels, of which it has one end each, and its response arena."""

    def __init__(self, name: str) -> None:
        self.link, self._their_link = channel.pair()
        self.calls, self._their_calls = channel.pair()
        self.responses = arena.create(f"pyserver-responses-{name[:128]}")

    def theirs(self, requests: int) -> tuple[int, ...]:
        """The stub's descriptors, in the order in which boot.py takes them; `requests` is the request arena's."""
        return (self._their_link.fileno(), requests, self.responses, self._their_calls.fileno())

    def hand_over(self) -> None:
        """The stub has its own, or never will: close the server's copies of them."""
        self._their_link.close()
        self._their_calls.close()
        os.close(self.responses)

    def cut(self) -> None:
        """There is no stub: close the server's ends."""
        self.link.close()
        self.calls.close()


async def bear(spec: InstanceSpec, fds: tuple[int, ...], fork_servers: ForkServers | None) -> Born:
    """A new process with copies of `fds`, in the order in which boot.py takes them. OSError if there can't be one."""
    mark = f"{os.getpid()}.{secrets.token_hex(8)}"
    environment = {**spec.environment, VARIABLE: mark}
    if spec.foreground:
        process = _popen(spec, {**environment, FOREGROUND: "1"}, fds)
        return Born(process.pid, mark, (), process.wait)
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    forked = None
    try:
        if fork_servers is not None:
            theirs = (*fds, out_writer, err_writer)
            forked = await fork_servers.fork(spec.interpreter, spec.boot, environment, spec.title, theirs)
        if forked is None:
            process = _popen(spec, environment, fds, stdin=subprocess.DEVNULL, stdout=out_writer, stderr=err_writer)
    except BaseException:
        os.close(out_reader)
        os.close(err_reader)
        raise
    finally:
        os.close(out_writer)
        os.close(err_writer)
    pid, reap = forked or (process.pid, process.wait)
    return Born(pid, mark, (out_reader, err_reader), reap)


def _popen(
    spec: InstanceSpec, environment: dict[str, str], fds: tuple[int, ...], **streams: Any
) -> subprocess.Popen[bytes]:
    """The process; without `streams` it shares the server's.

    Always from the main thread: PR_SET_PDEATHSIG, which the stub sets, takes the death of the thread that started it
    for the death of its parent. `subprocess` uses vfork here: a server of many gigabytes starts it in a millisecond.
    """
    command = [spec.interpreter, spec.boot, *map(str, fds), spec.title]
    return subprocess.Popen(command, env=environment, pass_fds=fds, start_new_session=not spec.foreground, **streams)
