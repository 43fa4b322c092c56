"""What the machine, or the control group that the server runs in, lets it use."""

from __future__ import annotations

import os
import re
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
_NODE = re.compile(r"nvidia[0-9]+")


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


def gpus(devices: Path = Path("/dev")) -> list[int]:
    """Their numbers as CUDA counts them: from 0, one for each device node, or as many as CUDA_VISIBLE_DEVICES names."""
    try:
        count = sum(1 for entry in os.scandir(devices) if _NODE.fullmatch(entry.name))
    except OSError:
        count = 0
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        named = [word for word in visible.split(",") if word.strip() and word.strip() != "-1"]
        count = min(count, len(named))
    return list(range(count))


def _first_words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []
