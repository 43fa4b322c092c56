"""predict_stream: the responses to one request, or to a client's stream of them, each sent as soon as it is there."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Optional

from pyserver.ipc.messages import FINAL
from pyserver.stub.mlserver.answered import answer
from pyserver.stub.mlserver.failed import failure
from pyserver.stub.mlserver.feed import Feed
from pyserver.stub.mlserver.received import Reader, Received
from pyserver.stub.request import Desk
from pyserver.stub.response import ErrorCode
from pyserver.stub.streaming import StreamReply

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.01
_GONE = "nobody waits any more for the answers to this stream"


async def respond(one: Received, host: Any, reader: Reader, desk: Desk) -> None:
    """Send all responses to a request, and what went wrong, if anything."""
    request = one.request
    reply = StreamReply(request.key, request.slot, None, desk)
    feed: Optional[Feed] = None
    try:
        if one.feed:
            feed = Feed(one, reader, host.errors)
        payloads = _alone(one.payload) if feed is None else feed.requests()
        responses = _responses(host.model.predict_stream(payloads))
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
    except asyncio.CancelledError:
        if reply.take():
            desk.outbox.say(desk.answers.error(request.key, ErrorCode.CANCELLED, _GONE, "", FINAL))
    except BaseException as error:
        code, message, traceback, status = failure(error, host.errors)
        if reply.take():
            desk.outbox.say(desk.answers.error(request.key, code, message, traceback, FINAL, status))
        if not isinstance(error, Exception):
            raise
    finally:
        if feed is not None:
            feed.close()
        request.take()


async def _alone(payload: Any) -> AsyncIterator[Any]:
    yield payload


async def _responses(returned: Any) -> AsyncIterator[Any]:
    """The responses of an async generator, of a plain one, or of a coroutine that gives either."""
    if hasattr(returned, "__await__"):
        returned = await returned
    if hasattr(returned, "__aiter__"):
        try:
            async for response in returned:
                yield response
        finally:
            close = getattr(returned, "aclose", None)
            if close is not None:
                await close()
        return
    for response in returned:
        yield response
        await asyncio.sleep(0)
