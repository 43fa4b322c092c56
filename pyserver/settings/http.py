"""Flags of the REST front end."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import MEBIBYTE, flag


@dataclass(frozen=True)
class HttpSettings:
    """Address, sizes, times."""

    allow_http: bool = flag(True, "serve REST", "http")
    http_address: str = flag("127.0.0.1", "address to bind; 0.0.0.0 for every interface", "http", "ADDRESS")
    http_port: int = flag(8000, "port; 0 for a free one", "http", "PORT")
    reuse_http_port: bool = flag(False, "share the port with other servers (SO_REUSEPORT)", "http")
    http_max_input_size: int = flag(
        64 * MEBIBYTE,
        "largest JSON text, and JSON tensor, of a request; binary tensors are not limited by it",
        "http",
        "BYTES",
    )
    http_max_body_size: int = flag(2048 * MEBIBYTE, "largest request body", "http", "BYTES")
    http_max_header_size: int = flag(64 * 1024, "largest request line with headers", "http", "BYTES")
    http_max_connections: int = flag(16384, "connections open at once", "http", "N")
    http_idle_timeout_secs: float = flag(3600.0, "how long a connection may rest between requests", "http", "SECONDS")
    http_read_timeout_secs: float = flag(
        30.0, "how long a pause in a body, or in taking an answer, may last", "http", "SECONDS"
    )
