"""Addresses to listen on: bound, or tried before another library binds them, so that every refusal has one wording."""

from __future__ import annotations

import errno
import ipaddress
import socket

from pyserver.errors import ErrorCode, ServerError

_BACKLOG = 1024


def listen(address: str, port: int, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets that listen on `address` and `port` (0: a free one). ServerError says which could not be had, and why."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # Not Tornado's `bind_sockets`, which leaves the socket open when it can't be bound.
        bound = socket.create_server((address, port), family=family, backlog=_BACKLOG, reuse_port=reuse_port)
    except OSError as error:
        raise refused(address, port, error) from None
    bound.setblocking(False)
    return [bound]


def try_bind(address: str, port: int) -> None:
    """Bind and let go. ServerError as `listen`."""
    for bound in listen(address, port):
        bound.close()


def refused(address: str, port: int, error: OSError) -> ServerError:
    """Triton's words for a port that somebody else has, and ours for the rest."""
    if error.errno == errno.EADDRINUSE:
        return ServerError(ErrorCode.UNAVAILABLE, f"Socket '{address}:{port}' already in use")
    return ServerError(ErrorCode.INTERNAL, f"Socket '{address}:{port}' can't be listened on: {error.strerror}")


def is_loopback(address: str) -> bool:
    """Whether only this host can connect to `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def target(address: str, port: int) -> str:
    """`host:port` as gRPC wants it: an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
