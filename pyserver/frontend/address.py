"""Addresses to listen on: written as gRPC wants them, and tried first, so that a refusal has one wording."""

from __future__ import annotations

import errno
import os
import socket


def target(address: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def in_use(address: str, port: int) -> OSError:
    """Triton's words for a port that somebody else has."""
    return OSError(errno.EADDRINUSE, f"Socket '{address}:{port}' already in use")


def try_bind(address: str, port: int) -> None:
    """Bind and let go. OSError, naming the address, if it is in use, not ours, or not an address."""
    try:
        found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(errno.EADDRNOTAVAIL, f"Socket '{address}:{port}': {error.strerror}") from None
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise in_use(address, port) from None
            reason = os.strerror(error.errno or 0)
            raise OSError(error.errno, f"Socket '{address}:{port}' can't be bound: {reason}") from None
