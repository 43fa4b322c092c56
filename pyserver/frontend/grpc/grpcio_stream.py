"""A stream of grpc.aio as the engine seam wants it, and the end of a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import grpc.aio

from pyserver.errors import ServerError
from pyserver.frontend.grpc.engine import Metadata
from pyserver.protocol import status

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Stream:
    """A stream of grpc.aio as the seam wants it."""

    def __init__(self, asked: Any, context: Any) -> None:
        self.metadata = metadata_of(context)
        self.hung_up = asyncio.Event()
        self._asked = asked
        self._context = context
        self._reading: asyncio.Future[Any] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._asked, bytes):
            yield self._asked
            return
        while not self.hung_up.is_set():
            self._reading = asyncio.ensure_future(self._context.read())
            try:
                message = await self._reading
            except asyncio.CancelledError:
                if self.hung_up.is_set():
                    return
                raise
            if message is END:
                return
            yield message

    async def write(self, message: bytes) -> None:
        """Send a message; waits while the client reads slowly."""
        await self._context.write(message)

    def trail(self, metadata: Metadata) -> None:
        """What is to go with its status."""
        self._context.set_trailing_metadata(tuple(metadata))

    async def abort(self, code: int, message: str) -> None:
        """End the stream with a gRPC status; raises."""
        await self._context.abort(CODES[code], status.told(message))

    def hang_up(self) -> None:
        """Read no more: the handler answers what it has, and the stream ends as unavailable."""
        self.hung_up.set()
        if self._reading is not None:
            self._reading.cancel()


def metadata_of(context: Any) -> Mapping[str, str]:
    """The metadata of a call that is text; of two of one key the last."""
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


async def abort(context: Any, error: ServerError) -> Any:
    """End a call with an error; raises."""
    await context.abort(CODES[status.grpc_code(error)], status.told(error.message))
