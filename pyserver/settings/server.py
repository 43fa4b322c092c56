"""Flags about the server as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag


@dataclass(frozen=True)
class ServerSettings:
    """Its name and its end."""

    id: str = flag("triton", "the server's name in its metadata", "server")
    exit_timeout_secs: float = flag(30.0, "how long accepted requests may take to finish at exit", "server", "SECONDS")
    drain_grace_secs: float = flag(0.0, "how long to go on accepting, not ready, after SIGTERM", "server", "SECONDS")
