"""How long a client may take over what it is doing. No clock, no I/O: `look` is told the time now and then."""

from __future__ import annotations

import enum

from pyserver.errors import ServerError, invalid
from pyserver.frontend.rest.limits import Limits

STALL_BYTES = 4096
"""What has to move within the stall time-out, both ways: a byte now and then is no progress."""
LINGER = 2.0
"""How long (seconds) a client may take to close its half of a connection after its last answer."""


class Phase(enum.Enum):
    """What a connection is waiting for."""

    IDLE = enum.auto()  # for a request
    HEAD = enum.auto()  # for the rest of a request's headers
    BODY = enum.auto()  # for the rest of its body
    WORK = enum.auto()  # for us
    SEND = enum.auto()  # for the client to take its answers
    LINGER = enum.auto()  # for the client to close


class Watch:
    """Watches one connection."""

    __slots__ = ("_count", "_moved", "_moved_at", "_phase", "_since")

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._count = 0
        self._since = 0.0
        self._moved = 0
        self._moved_at = 0.0

    def look(self, now: float, phase: Phase, count: int, moved: int, limits: Limits) -> str | None:
        """The time-out (a field of `Limits`, or "linger") that has passed by `now` (seconds), None for none.

        `count` is how many requests the connection has seen, `moved` a measure in bytes that grows with progress.
        """
        if phase is not self._phase or count != self._count:
            self._phase, self._count, self._since = phase, count, now
            self._moved, self._moved_at = moved, now
            return None
        if moved >= self._moved + STALL_BYTES:
            self._moved, self._moved_at = moved, now
        self._moved = min(self._moved, moved)
        if phase in _MOVING and now - self._moved_at > limits.stall_timeout:
            return "stall_timeout"
        name = _TIMEOUTS.get(phase)
        if name is None:
            return None
        allowed = LINGER if name == "linger" else getattr(limits, name)
        return name if now - self._since > allowed else None


_MOVING = frozenset((Phase.BODY, Phase.SEND))
_TIMEOUTS = {
    Phase.IDLE: "idle_timeout",
    Phase.HEAD: "header_timeout",
    Phase.BODY: "body_timeout",
    Phase.LINGER: "linger",
}


_FLAGS = {
    "header_timeout": "--http-header-timeout-secs",
    "body_timeout": "--http-body-timeout-secs",
    "stall_timeout": "--http-read-timeout-secs",
}


def too_slow(timeout: str, limits: Limits) -> ServerError:
    """The answer to a client that a time-out has cut off in the middle of its request."""
    what = "headers" if timeout == "header_timeout" else "body"
    return invalid(
        f"request {what} took too long: the limit is {getattr(limits, timeout):g} s. "
        f"Use {_FLAGS[timeout]} to increase the limit."
    )
