"""Flags about the server as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import flag

GROUP = "server"


@dataclass(frozen=True)
class ServerSettings:
    """Its name, its file of settings, and its end."""

    id: str = flag("triton", "the server's name in its metadata", GROUP)
    config: str = flag(
        "",
        "TOML file with settings, named as the options",
        GROUP,
        "FILE",
        more="the command line counts more than PYSERVER_ variables, and these more than the file",
    )
    exit_timeout_secs: float = flag(30.0, "how long accepted requests may take at exit", GROUP, "SECONDS")
    drain_grace_secs: float = flag(0.0, "how long to go on accepting after SIGTERM, not ready", GROUP, "SECONDS")
