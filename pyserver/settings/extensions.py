"""Flags of the protocol's extensions that are neither REST's nor gRPC's."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag


@dataclass(frozen=True)
class ExtensionSettings:
    """Clients' shared memory, classification."""

    allow_client_shm: str = flag(
        "auto",
        "let clients register shared memory; auto: where only this host connects",
        "server",
        choices=("auto", "true", "false"),
    )
    client_shm_prefix: str = flag(
        "",
        "let clients register objects called PREFIX...",
        "server",
        "PREFIX",
        more="without it, objects that belong to the server's user, or that everybody may read and write",
    )
    max_classification_size: int = flag(1_000_000, "results of classifying one output", "server", "N")
