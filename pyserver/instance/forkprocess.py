"""The process of a fork server, and the socket to it.

It imports numpy first of all, which takes about as long as the server's own imports. So the one that most models need
is started before these: this module is to import little.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from pyserver.instance.descendants import VARIABLE, new_mark
from pyserver.instance.share import share
from pyserver.instance.spec import BOOT
from pyserver.settings.machine import available_cpus, gpus

TITLE = "pyserver: fork server".ljust(200)
"""Its last argument, whose room its forks write their own titles to."""


class Kind(NamedTuple):
    """What all forks of one fork server have in common."""

    interpreter: str
    boot: str
    variables: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, interpreter: str, boot: str, environment: Mapping[str, str]) -> Kind:
        """The kind of a stub with `environment`, which has its mark among the variables."""
        common = {**environment, VARIABLE: "0" * len(environment[VARIABLE])}
        return cls(interpreter, boot, tuple(sorted(common.items())))

    @classmethod
    def usual(cls) -> Kind:
        """The kind of models that say nothing of instances: one on the CPU, or on each GPU, run by this interpreter."""
        count = len(gpus())
        own = share(available_cpus(), max(1, count), "GPU" if count else "CPU")
        return cls.of(sys.executable, BOOT, {**own, **os.environ, VARIABLE: new_mark()})


class ForkProcess(NamedTuple):
    """A process that is, or will be, a fork server; orders to it may be sent at once."""

    kind: Kind
    process: subprocess.Popen[bytes]
    sock: socket.socket


def start(kind: Kind) -> ForkProcess:
    """Start one: OSError if that fails. From the main thread, as every process that is to die with the server."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        process = subprocess.Popen(
            [kind.interpreter, kind.boot, str(theirs.fileno()), TITLE], env=dict(kind.variables),
            pass_fds=(theirs.fileno(),), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ForkProcess(kind, process, ours)
