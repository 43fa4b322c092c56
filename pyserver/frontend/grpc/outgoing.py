"""Whether what was sent on a port's connections has arrived, as far as the kernel knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
OPEN_STATES = ("01", "08")
"""ESTABLISHED, and CLOSE_WAIT: the other side has said all."""

LOOK_EVERY = 0.02
QUIET_LOOKS = 4
"""So often in a row nothing is outgoing before it counts as sent: what is still in the process follows soon."""


def unsent(port: int, table: str) -> int:
    """Bytes that the other ends of connections to local `port` have not acknowledged, by a /proc/net/tcp table."""
    local = f":{port:04X}"
    total = 0
    for line in table.splitlines()[1:]:
        words = line.split()
        if words[1].endswith(local) and words[3] in OPEN_STATES:
            total += int(words[4].split(":")[0], 16)
    return total


def wait_sent(
    port: int, timeout: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Block until nothing is outgoing on local `port`, at most `timeout` seconds; whether it came to that."""
    until = clock() + timeout
    quiet = 0
    while quiet < QUIET_LOOKS:
        if clock() >= until:
            return False
        sleep(LOOK_EVERY)
        quiet = 0 if any(unsent(port, table.read_text()) for table in TABLES if table.exists()) else quiet + 1
    return True
