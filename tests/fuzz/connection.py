"""A whole connection of the lane, without a socket: it is fed anything, and what it leaves behind is looked at."""

from __future__ import annotations

import asyncio
import re

from pyserver.frontend.rest.lane.server import LaneServer
from pyserver.frontend.rest.limits import Limits
from tests.support.lane import EchoPlane, Wired, application

_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [A-Za-z ]+\r\n")
_TURNS = 6


class _Quiet:
    """A loop, and a lane on it, for a whole process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.plane = EchoPlane()
        self.plane.at_once = True
        self.lane = LaneServer(application(), self.plane, "127.0.0.1", 0, Limits(max_body_size=1 << 20))  # type: ignore[arg-type]
        self.lane.loop = self.loop

    async def talk(self, data: bytes, cut: int) -> bytes:
        wired = Wired(self.lane)
        for at in range(0, len(data), cut):
            wired.feed(data[at : at + cut])
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        sent = wired.sent
        wired.lose()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        return sent


_quiet: list[_Quiet] = []


def talk(data: bytes) -> None:
    """One conversation, in pieces as long as the first byte says: only answers come back, no 5xx, and nothing stays."""
    if not _quiet:
        _quiet.append(_Quiet())
    quiet = _quiet[0]
    quiet.lane.heads.clear()
    sent = quiet.loop.run_until_complete(quiet.talk(data[1:], data[0] + 1 if data else 1))
    assert not sent or _ANSWER.match(sent), sent
    assert b"HTTP/1.1 5" not in sent.replace(b"HTTP/1.1 501", b""), sent
    quiet.plane.drop_cancelled()
    quiet.plane.requests.clear()
    assert not quiet.plane.pending
    assert quiet.plane.leases == 0
    assert quiet.lane.connections == 0
