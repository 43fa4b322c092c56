"""What the machine, or the control group that the server runs in, lets it use."""

from __future__ import annotations

import os
from pathlib import Path


def available_cpus() -> int:
    """CPUs this process may use: its affinity, and the quota of its cgroup."""
    count = len(os.sched_getaffinity(0))
    quota = _first_words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0] != "max":
        count = min(count, max(1, int(quota[0]) // int(quota[1])))
    return count


def memory_limit() -> int:
    """Bytes this process and its children may use: the machine's, or its cgroup's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _first_words("/sys/fs/cgroup/memory.max")
    return min(total, int(limit[0])) if limit and limit[0] != "max" else total


def _first_words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []
