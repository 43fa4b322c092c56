"""What /proc tells about a process and its descendants."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def alive(pid: int) -> bool:
    """Whether `pid` is a process that still runs: a zombie does not."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    """The living direct children of `pid`, in the order of their start."""
    return [child for child in _pids() if _stat(child)[1:2] == [str(pid)] and alive(child)]


def parent(pid: int) -> int:
    """The parent of `pid`."""
    return int(_stat(pid)[1])


def stubs(server: int) -> list[int]:
    """The living processes of models of `server`, in the order of their start, whoever forked them."""
    forking = fork_servers(server)
    found = []
    for child in children(server):
        found += children(child) if child in forking else [child]
    return sorted(found)


def fork_servers(server: int) -> list[int]:
    """The living processes that `server` has its models' processes forked by, in the order of their start."""
    return [child for child in children(server) if "pyserver: fork server" in command_line(child)]


def tree(pid: int) -> list[int]:
    """`pid` and all its living descendants, parents first."""
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time that `pid` itself has used."""
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / TICKS_PER_SECOND


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of `pid` and its living descendants."""
    return sum(cpu_seconds(member) for member in tree(pid))


def tree_pss_bytes(pid: int) -> int:
    """Memory of `pid` and its descendants, each shared page counted once."""
    return sum(pss_bytes(member) for member in tree(pid))


def descriptors(pid: int) -> int:
    """How many file descriptors `pid` has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads `pid` runs."""
    return len(os.listdir(f"/proc/{pid}/task"))


def command_line(pid: int) -> str:
    """The arguments of `pid`, separated by spaces; empty if it is gone."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def marked(entry: str) -> list[int]:
    """Living processes that have `entry`, NAME=VALUE, in the environment they were started with."""
    return [pid for pid in _pids() if has_mark(pid, entry) and alive(pid)]


def has_mark(pid: int, entry: str) -> bool:
    """Whether `pid` was started with `entry`, NAME=VALUE, in its environment."""
    return entry.encode() in _read(pid, "environ").split(b"\0")


def descends(pid: int, ancestor: int) -> bool:
    """Whether `pid` is `ancestor` or one of its descendants; a process whose parent has died descends from nobody."""
    while pid != ancestor:
        stat = _stat(pid)
        if not stat or stat[1] == "0":
            return False
        pid = int(stat[1])
    return True


def holders(paths: Sequence[Path]) -> dict[Path, set[int]]:
    """By file the living processes that have it open or map it."""
    found: dict[Path, set[int]] = {path: set() for path in paths}
    for pid in _pids():
        maps, links = _read(pid, "maps"), _links(pid)
        for path in paths:
            if b" %b\n" % os.fsencode(path) in maps or str(path) in links:
                found[path].add(pid)
    return found


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: what stands before may hold spaces."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def pss_bytes(pid: int) -> int:
    """Memory of `pid` itself, its part of what it shares; 0 if it is gone."""
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _links(pid: int) -> list[str]:
    folder, found = f"/proc/{pid}/fd", []
    try:
        for name in os.listdir(folder):
            found.append(os.readlink(f"{folder}/{name}"))
    except OSError:
        pass
    return found


def _read(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty if the process is gone or not ours to ask."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def rss_bytes(pid: int) -> int:
    """Memory that a process has in RAM, what it shares included."""
    return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
