"""predict_stream: the responses to one request, each sent as soon as it is there."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator

from pyserver.ipc.messages import FINAL
from pyserver.stub.mlserver.answered import answer
from pyserver.stub.mlserver.failed import failure
from pyserver.stub.mlserver.received import Received
from pyserver.stub.request import Desk
from pyserver.stub.streaming import StreamReply

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.01


async def respond(one: Received, host: Any, desk: Desk) -> None:
    """Send all responses to a request, and what went wrong, if anything."""
    request = one.request
    reply = StreamReply(request.key, request.slot, None, desk)
    try:
        responses = _responses(host.model.predict_stream(_alone(one.payload)))
        async for response in responses:
            pause = _FIRST_PAUSE
            while not reply.has_room:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if reply.is_cancelled():
                await responses.aclose()  # type: ignore[attr-defined]
                break
            reply.send(answer(response, one.typed), 0)
        reply.send(None, FINAL)
    except BaseException as error:
        code, message, traceback, status = failure(error, host.errors)
        if reply.take():
            desk.outbox.say(desk.answers.error(request.key, code, message, traceback, FINAL, status))
        if not isinstance(error, Exception):
            raise
    finally:
        request.take()


async def _alone(payload: Any) -> AsyncIterator[Any]:
    yield payload


async def _responses(returned: Any) -> AsyncIterator[Any]:
    """The responses of an async generator, of a plain one, or of a coroutine that gives either."""
    if hasattr(returned, "__await__"):
        returned = await returned
    if hasattr(returned, "__aiter__"):
        async for response in returned:
            yield response
        return
    for response in returned:
        yield response
        await asyncio.sleep(0)
