"""What one client may take: sizes and times, each with the flag that sets it."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.errors import ServerError, invalid

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds.

    `max_body_size` (`--http-max-body-size`) holds for a body as sent; `max_input_size` (`--http-max-input-size`, as in
    Triton) for its JSON part and for a compressed body once inflated; `max_header_size` for the request line and headers
    together. `idle_timeout` is how long a connection may wait for a request, or take over its headers, and
    `body_timeout` how long a body may take.
    """

    max_body_size: int = 2 * GIB
    max_input_size: int = 64 * MIB
    max_header_size: int = 64 * KIB
    max_chunks: int = 65536
    idle_timeout: float = 3600.0
    body_timeout: float = 600.0


def body_too_large(size: int, limits: Limits) -> ServerError:
    """A body of `size` bytes, or one of which `size` have come, is over the limit."""
    return invalid(
        f"request body of {size} bytes exceeds the maximum allowed {limits.max_body_size} bytes. "
        "Use --http-max-body-size to increase the limit."
    )


def too_many_chunks(limits: Limits) -> ServerError:
    """A chunked body is cut too fine."""
    return invalid(f"Chunked request body exceeds maximum of {limits.max_chunks} chunks")
