"""File descriptors: one for each connection, and enough left for everything else."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

OTHERS = 2048
"""For what is not an HTTP connection: gRPC, models, files."""


def room_for(connections: int) -> int:
    """How many of so many connections may be open at once: the process's own limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHERS
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(soft - OTHERS, soft // 2)
    if room < connections:
        log.warning("%d files may be open (ulimit -n), so at most %d HTTP connections", soft, room)
    return min(room, connections)
