"""What one client may take: sizes and times, each with the flag that sets it."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.errors import ServerError, invalid

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; each has a flag, named in the error that it makes.

    `max_body_size` holds for a body as sent; `max_input_size` (as in Triton) for its JSON part and for a compressed
    body once inflated; `max_load_size` for the files of a request to load a model; `max_header_size` for the request
    line and headers together, of which the line may be `max_request_line`, `max_headers` for their number.
    `max_pipelined` requests of one connection may be in flight at once.

    `idle_timeout` is how long a connection may wait for a request, `header_timeout` how long the headers of one may
    take, `body_timeout` a body; `stall_timeout` is within what time a client must send a little more of a body, or take
    a little more of an answer.
    """

    max_body_size: int = 2 * GIB
    max_input_size: int = 64 * MIB
    max_load_size: int = GIB
    max_json_depth: int = 100
    max_header_size: int = 64 * KIB
    max_chunks: int = 65536
    idle_timeout: float = 3600.0
    body_timeout: float = 600.0
    max_headers: int = 128
    max_request_line: int = 8 * KIB
    max_connections: int = 16384
    max_pipelined: int = 64
    header_timeout: float = 10.0
    stall_timeout: float = 30.0


def body_too_large(size: int, limits: Limits) -> ServerError:
    """A body of `size` bytes, or one of which `size` have come, is over the limit."""
    return invalid(
        f"request body of {size} bytes exceeds the maximum allowed {limits.max_body_size} bytes. "
        "Use --http-max-body-size to increase the limit."
    )


def too_many_chunks(limits: Limits) -> ServerError:
    """A chunked body is cut too fine."""
    return invalid(
        f"Chunked request body exceeds maximum of {limits.max_chunks} chunks. "
        "Use --http-max-chunks to increase the limit."
    )


def header_too_large(limits: Limits) -> ServerError:
    """The request line and headers are over the limit, or would be when they ended."""
    return invalid(
        f"request headers exceed the maximum allowed {limits.max_header_size} bytes. "
        "Use --http-max-header-size to increase the limit."
    )


def too_many_headers(count: int, limits: Limits) -> ServerError:
    """There are more headers than anybody needs."""
    return invalid(
        f"request has {count} headers, which exceeds the maximum allowed {limits.max_headers}. "
        "Use --http-max-headers to increase the limit."
    )


def input_too_large(size: int, limits: Limits) -> ServerError:
    """The JSON part of a body, or a raw tensor, of `size` bytes is over the limit."""
    return invalid(
        f"request JSON of {size} bytes exceeds the maximum allowed {limits.max_input_size} bytes. "
        "Use --http-max-input-size to increase the limit."
    )
