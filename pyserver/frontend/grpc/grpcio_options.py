"""What is asked of grpc-core: `Options` under its names, and the certificates."""

from __future__ import annotations

import grpc

from pyserver.frontend import tls
from pyserver.frontend.grpc.engine import Options

LEVELS = {"none": 0, "low": 1, "medium": 2, "high": 3}


def channel_options(options: Options) -> list[tuple[str, int]]:
    """`options` under grpc-core's names."""
    named = {
        "grpc.max_receive_message_length": options.max_message,
        "grpc.max_send_message_length": options.max_message,
        # Between the two limits grpc-core refuses some calls at random; ours is one limit.
        "grpc.max_metadata_size": options.max_metadata,
        "grpc.absolute_max_metadata_size": options.max_metadata,
        # Against rapid resets grpc-core counts calls until they are taken down: now and then it refuses (UNAVAILABLE)
        # one of a client that is at the limit and has just seen another end. So the limit is a high one.
        "grpc.max_concurrent_streams": options.max_concurrent_streams,
        "grpc.max_allowed_incoming_connections": options.max_connections,
        "grpc.server_handshake_timeout_ms": options.handshake_timeout_ms,
        "grpc.keepalive_time_ms": options.keepalive_time_ms,
        "grpc.keepalive_timeout_ms": options.keepalive_timeout_ms,
        "grpc.keepalive_permit_without_calls": int(options.keepalive_permit_without_calls),
        "grpc.http2.max_pings_without_data": options.max_pings_without_data,
        "grpc.http2.min_ping_interval_without_data_ms": options.min_recv_ping_interval_without_data_ms,
        "grpc.http2.max_ping_strikes": options.max_ping_strikes,
        "grpc.max_connection_age_ms": options.max_connection_age_ms,
        "grpc.max_connection_age_grace_ms": options.max_connection_age_grace_ms,
        "grpc.default_compression_level": LEVELS[options.compression] or None,
        "grpc.so_reuseport": int(options.reuse_port),
    }
    return [(name, value) for name, value in named.items() if value is not None]


def credentials(files: tls.TlsFiles) -> grpc.ServerCredentials:
    """The server's certificate, and whether clients need one. ServerError names the file that can't be used."""
    tls.context(files)  # grpc-core would say nothing of what is wrong
    cert, key, root = tls.contents(files)
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=root, require_client_auth=files.mutual)
