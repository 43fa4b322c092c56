"""A process that has imported what every stub needs, and forks one when the server asks for it.

Such a stub is there within milliseconds, and shares the memory of what was imported. Nothing of any model ever runs
here: this process has one thread, and no descriptor but its socket.
"""

from __future__ import annotations

import array
import errno
import gc
import importlib
import os
import socket
import sys
import warnings
from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np

from pyserver.ipc import forking

MODELS_IMPORT = "triton_python_backend_utils"
"""What nearly every model imports, and so shares."""
_INT = array.array("i").itemsize


class Birth(NamedTuple):
    """What a new stub is: its descriptors (channel, requests, responses, calls), its mark and its title."""

    descriptors: Tuple[int, ...]
    mark: str
    title: str


def serve(fd: int) -> Optional[Birth]:
    """Take orders from the socket `fd` until the server is gone. Returns None then, and in every stub its `Birth`."""
    os.set_inheritable(fd, False)
    sources = _sources()
    importlib.import_module(MODELS_IMPORT)
    gc.collect()
    gc.freeze()  # a collection in a stub would write to, and so copy, every page of what is shared
    with socket.socket(fileno=fd) as sock:
        while True:
            order, descriptors = _receive(sock)
            if not order:
                return None
            kind, mark, title, pid = forking.unpack_order(order)
            if kind == forking.REAP:
                os.waitpid(pid, 0)
                continue
            number = -errno.ESTALE if _sources() != sources else _fork()
            if number == 0:
                sock.close()
                return Birth(_settle(descriptors), mark, title)
            for descriptor in descriptors:
                os.close(descriptor)
            sock.send(forking.pack_answer(number))


def _receive(sock: socket.socket) -> Tuple[bytes, List[int]]:
    """The next order and its descriptors; b"" once the server is gone."""
    space = socket.CMSG_SPACE(len(forking.DESCRIPTORS) * _INT)
    try:
        order, ancillary, _, _ = sock.recvmsg(forking.MAX_ORDER, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return b"", []
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data[: len(data) - len(data) % _INT])
    return order, list(descriptors)


def _fork() -> int:
    """0 in the stub; here its process id, or a negative errno."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: numpy's stop for a fork, and start anew
        try:
            return os.fork()
        except OSError as error:
            return -(error.errno or errno.EAGAIN)


def _settle(descriptors: List[int]) -> Tuple[int, ...]:
    """Make this process, a fork, a stub of its own: a session, two streams, random numbers like nobody else's."""
    os.setsid()
    *own, stdout, stderr = descriptors
    for fd, number, name in ((stdout, 1, "stdout"), (stderr, 2, "stderr")):
        os.dup2(fd, number)
        os.close(fd)
        old = getattr(sys, name)  # made for what the descriptor was before: it believes that it can seek
        new = open(number, "w", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    random: Any = sys.modules.get("numpy.random")
    if random is not None:  # `random` sees to it itself
        random.seed()
    return tuple(own)


def _sources() -> List[Tuple[str, int, int]]:
    """What tells that the environment was changed since it was imported from: what is shared would be of two ages."""
    found = []
    for path in (sys.executable, np.__file__, np.version.__file__):
        try:
            entry = os.stat(path)
            found.append((path, entry.st_ino, entry.st_mtime_ns))
        except OSError:
            found.append((path, 0, 0))
    return found
