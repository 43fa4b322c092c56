"""Flags of the connections themselves: what one client may take of the server, TLS, HTTP/2."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import MEBIBYTE, flag

HTTP, GRPC, LIMITS = "http", "grpc", "limits"
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class HttpTransportSettings:
    """Beside the sizes and times of `HttpSettings`."""

    http_max_headers: int = flag(128, "headers of one request", HTTP, "N")
    http_max_chunks: int = flag(65536, "chunks of one request body", HTTP, "N")
    http_max_json_depth: int = flag(100, "how deep the JSON of a request may be nested", HTTP, "LEVELS")
    http_max_pipelined: int = flag(64, "requests of one connection that run at once", HTTP, "N")
    http_header_timeout_secs: float = flag(10.0, "how long the headers of a request may take", HTTP, "SECONDS")
    http_body_timeout_secs: float = flag(600.0, "how long the body of a request may take", HTTP, "SECONDS")
    http_use_ssl: bool = flag(False, "serve HTTPS", HTTP)
    http_use_ssl_mutual: bool = flag(False, "serve HTTPS to clients with a certificate of --http-root-cert", HTTP)
    http_server_cert: str = flag("", "certificate of the server, with its chain", HTTP, "FILE.pem")
    http_server_key: str = flag("", "private key of the server's certificate", HTTP, "FILE.pem")
    http_root_cert: str = flag("", "certificates that clients' certificates are signed by", HTTP, "FILE.pem")


@dataclass(frozen=True)
class GrpcTransportSettings:
    """HTTP/2 and TLS. Times are milliseconds, as tritonserver's."""

    grpc_use_ssl: bool = flag(False, "serve gRPC over TLS", GRPC)
    grpc_use_ssl_mutual: bool = flag(False, "serve TLS to clients with a certificate of --grpc-root-cert", GRPC)
    grpc_server_cert: str = flag("", "certificate of the server, with its chain", GRPC, "FILE.pem")
    grpc_server_key: str = flag("", "private key of the server's certificate", GRPC, "FILE.pem")
    grpc_root_cert: str = flag("", "certificates that clients' certificates are signed by", GRPC, "FILE.pem")
    grpc_max_message_size: int = flag(_INT32_MAX, "largest message, inflated, in either direction", GRPC, "BYTES")
    grpc_max_metadata_size: int = flag(16384, "largest metadata of a call", GRPC, "BYTES")
    grpc_max_concurrent_streams: int = flag(1024, "calls of one connection that run at once", GRPC, "N")
    grpc_max_connections: int = flag(
        0, "connections open at once; 0 for as many as there are descriptors for", GRPC, "N",
        more="any other number is grpcio's to keep to",
    )  # fmt: skip
    grpc_keepalive_time: int = flag(7_200_000, "how long a silent connection rests before a ping", GRPC, "MS")
    grpc_keepalive_timeout: int = flag(20_000, "how long a ping's answer may take", GRPC, "MS")
    grpc_keepalive_permit_without_calls: bool = flag(False, "ping connections without calls as well", GRPC)
    grpc_http2_max_pings_without_data: int = flag(2, "pings sent before data has to follow", GRPC, "N")
    grpc_http2_min_recv_ping_interval_without_data: int = flag(
        300_000, "how soon a client without calls may ping again", GRPC, "MS"
    )
    grpc_http2_max_ping_strikes: int = flag(2, "pings too soon before a client is cut off; 0 for any", GRPC, "N")
    grpc_max_connection_age: int = flag(0, "how long a connection lives; 0 for ever", GRPC, "MS")
    grpc_max_connection_age_grace: int = flag(0, "how long its calls may take then; 0 for ever", GRPC, "MS")


@dataclass(frozen=True)
class LoadSettings:
    """What a request to load a model may bring."""

    max_load_size: int = flag(1024 * MEBIBYTE, "files of one request to load a model, all together", LIMITS, "BYTES")
