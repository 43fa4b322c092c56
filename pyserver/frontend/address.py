"""Addresses to listen on: bound, or tried before another library binds them, so that every refusal has one wording."""

from __future__ import annotations

import errno
import socket
from typing import Any

from pyserver.errors import ErrorCode, ServerError

BACKLOG = 1024


def listen(address: str, port: int, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets that listen on `address` and `port` (0: a free one). ServerError says which could not be had, and why."""
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in _resolved(address, port):
            if bound and port == 0:  # the same free port for each
                place = (place[0], bound[0].getsockname()[1], *place[2:])
            made = socket.socket(family, kind, protocol)
            bound.append(made)
            _prepare(made, reuse_port)
            made.bind(place)
            made.listen(BACKLOG)
    except OSError as error:
        for made in bound:
            made.close()
        raise refused(address, port, error) from None
    return bound


def _resolved(address: str, port: int) -> list[Any]:
    found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys(found))


def _prepare(made: socket.socket, reuse_port: bool) -> None:
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def try_bind(address: str, port: int) -> None:
    """Bind and let go. ServerError as `listen`."""
    for bound in listen(address, port):
        bound.close()


def refused(address: str, port: int, error: OSError) -> ServerError:
    """Triton's words for a port that somebody else has, and ours for the rest."""
    if error.errno == errno.EADDRINUSE:
        return ServerError(ErrorCode.UNAVAILABLE, f"Socket '{address}:{port}' already in use")
    return ServerError(ErrorCode.INTERNAL, f"Socket '{address}:{port}' can't be listened on: {error.strerror}")


def target(address: str, port: int) -> str:
    """`host:port` as gRPC wants it: an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
