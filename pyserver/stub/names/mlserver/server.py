"""`mlserver.MLServer`: models may import it; only `pyserver start` serves."""

from __future__ import annotations

from typing import Any


class MLServer:
    """The server, which a model's process is not."""

    def __init__(self, settings: Any) -> None:
        raise RuntimeError("MLServer is not to be started from a model: use `pyserver start FOLDER`")
