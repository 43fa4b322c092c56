"""A stream of responses that are changed on their way, in their order: as those of `extension.infer`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pyserver.errors import ServerError, internal
from pyserver.extension.infer import Extended
from pyserver.model.items import Items
from pyserver.model.stream import Stream
from pyserver.types import InferResponse


class ExtendedStream(Items):
    """A stream whose responses are what was asked for.

    Made, the model has been started, unless large inputs are to be read before. What is long to do is done in a thread,
    and those who come later wait for it. Every response counts as read when its reader has released it.
    """

    def __init__(self, extended: Extended, run: Callable[[], Stream]) -> None:
        super().__init__()
        self._extended = extended
        self._stream = None if extended.takes_long else extended.read_and_start(run)
        self._passing = asyncio.get_running_loop().create_task(self._change_all(run))

    def cancel(self) -> None:
        """As `Items.cancel`. What a thread works on is given back when it is done."""
        super().cancel()
        if self._stream is not None:
            self._stream.cancel()

    async def _change_all(self, run: Callable[[], Stream]) -> None:
        """Take what comes of the model, change it, and pass it on."""
        try:
            stream = self._stream or await self._started(run)
            if stream is not None:
                async for item in stream:
                    await self._change(item.response)
                    self._pass(item.response, item.final)
        except Exception as failure:
            model = self._extended.model
            refused = InferResponse(model.name, str(model.version), self._extended.request_id, error=_told(failure))
            self._pass(refused, True)
        finally:
            self.ended = True
            self._extended.release()
            self._wake()

    async def _started(self, run: Callable[[], Stream]) -> Stream | None:
        """The model's stream, once the inputs are read; None if nobody waits any more."""
        await asyncio.to_thread(self._extended.read)
        if not self.cancelled:
            self._stream = self._extended.start(run)
        return self._stream

    async def _change(self, response: InferResponse) -> None:
        if response.error is not None or response.empty:
            return
        try:
            if self._extended.heavy(response):
                await asyncio.to_thread(self._extended.finish, response)
            else:
                self._extended.finish(response)
        except Exception as failure:
            response.error, response.outputs = _told(failure), []


def _told(failure: Exception) -> ServerError:
    return failure if isinstance(failure, ServerError) else internal(f"unexpected error: {failure!r}")
