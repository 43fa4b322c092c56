"""Flags of the gRPC front end."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag

GROUP = "grpc"


@dataclass(frozen=True)
class GrpcSettings:
    """Address and engine."""

    allow_grpc: bool = flag(True, "serve gRPC", GROUP)
    grpc_address: str = flag("127.0.0.1", "address to bind; 0.0.0.0 for every interface", GROUP, "ADDRESS")
    grpc_port: int = flag(8001, "port; 0 for a free one", GROUP, "PORT")
    reuse_grpc_port: bool = flag(False, "share the port with other servers (SO_REUSEPORT)", GROUP)
    grpc_restricted_protocol: tuple[str, ...] = flag(
        (),
        "answer these kinds of calls only with metadata triton-grpc-protocol-KEY",
        GROUP,
        "KIND,...:KEY=VALUE",
        more="may be given several times; kinds as for --http-restricted-api",
    )
    grpc_header_forward_pattern: str = flag(
        "", "give metadata whose keys match to models, as request parameters", GROUP, "REGEX"
    )
    grpc_infer_response_compression_level: str = flag(
        "none", "how much to compress responses, for clients that can", GROUP,
        choices=("none", "low", "medium", "high"),
    )  # fmt: skip
    grpc_engine: str = flag(
        "auto",
        "what speaks HTTP/2",
        GROUP,
        choices=("auto", "native", "grpcio"),
        more="auto: native where pygrpc-native is installed and only this host connects; grpcio limits inflated gzip",
    )
