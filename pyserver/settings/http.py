"""Flags of the REST front end."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import MEBIBYTE, flag

GROUP = "http"


@dataclass(frozen=True)
class HttpSettings:
    """Address, sizes, times."""

    allow_http: bool = flag(True, "serve REST", GROUP)
    http_address: str = flag("127.0.0.1", "address to bind; 0.0.0.0 for every interface", GROUP, "ADDRESS")
    http_port: int = flag(8000, "port; 0 for a free one", GROUP, "PORT")
    reuse_http_port: bool = flag(False, "share the port with other servers (SO_REUSEPORT)", GROUP)
    http_cors: str = flag("", "who may ask from a browser: JSON, the keys of MLServer's cors_settings", GROUP, "JSON")
    http_compression: bool = flag(True, "compress answers for clients that can", GROUP)
    http_restricted_api: tuple[str, ...] = flag(
        (),
        "answer these kinds of requests only with this header; may be given several times",
        GROUP,
        "KIND,...:KEY=VALUE",
        more="kinds: health, metadata, inference, shared-memory, model-config, model-repository, statistics, trace, "
        "logging",
    )
    http_header_forward_pattern: str = flag(
        "", "give headers whose names match to models, as request parameters", GROUP, "REGEX"
    )
    http_max_input_size: int = flag(
        64 * MEBIBYTE,
        "largest JSON text of a request, and JSON tensor",
        GROUP,
        "BYTES",
        more="binary tensors are not limited by it",
    )
    http_max_body_size: int = flag(2048 * MEBIBYTE, "largest request body", GROUP, "BYTES")
    http_max_header_size: int = flag(64 * 1024, "largest request line with headers", GROUP, "BYTES")
    http_max_connections: int = flag(16384, "connections open at once", GROUP, "N")
    http_idle_timeout_secs: float = flag(3600.0, "how long a connection may rest between requests", GROUP, "SECONDS")
    http_read_timeout_secs: float = flag(30.0, "how long a pause in a body or an answer may last", GROUP, "SECONDS")
