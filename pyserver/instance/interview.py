"""What the server hears from a stub that loads: one answer to each thing that it has asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from pyserver.instance.patience import LoadError, Patience
from pyserver.instance.responses import ResponseMemory
from pyserver.instance.spec import InstanceSpec
from pyserver.ipc.messages import unpack_json


class Interview:
    """The cold records that a stub owes the server, each in its turn; it has the patience that `spec` says."""

    def __init__(self, spec: InstanceSpec, memory: ResponseMemory) -> None:
        self._silence = spec.silence
        self._patience = Patience(spec.name, memory, spec.load_limit)
        self._awaited = 0  # the kind of the record that comes next, and who waits for it
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._over = ""

    async def answer(self, kind: int, timeout: float | None) -> dict[str, Any]:
        """The next record, which must be of `kind` and without an error: LoadError else, or after `timeout` seconds
        without a sign of life (None: as the spec says).
        """
        if self._over:
            raise LoadError(self._over)
        self._awaited = kind
        self._answer = asyncio.get_running_loop().create_future()
        try:
            said = await self._patience.answer(self._answer, self._silence if timeout is None else timeout)
        finally:
            self._awaited = 0
            self._answer = None
        if "error" in said:
            raise LoadError(str(said["error"]), str(said.get("traceback", "")))
        return said

    def hear(self, kind: int, body: bytes) -> bool:
        """Take a record; False if it is not the one that is awaited."""
        if kind != self._awaited or self._answer is None or self._answer.done():
            return False
        self._answer.set_result(unpack_json(body))
        self._awaited = 0
        return True

    def end(self, why: str) -> None:
        """The stub is gone: no answer comes any more."""
        self._over = why
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadError(why))
