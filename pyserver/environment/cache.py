"""The folder where environments lie ready: one entry for each content, made once, whoever asks for it.

KEY/env             the environment
KEY/complete.json   says what it is; an entry without it was never finished, and nobody uses it
KEY.tmp             an archive that is being unpacked, or was when its process was killed
locks/KEY           locked exclusively by who makes or removes the entry, shared by who uses it
known/STAT          the key of a file that was read before, by its path, size, time and inode
trash-ANY           what is being deleted: that takes longer than a rename
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pyserver.environment.interpreter import Facts
from pyserver.errors import internal


def default_folder() -> Path:
    """$XDG_CACHE_HOME/pyserver/environments."""
    cached = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cached) if os.path.isabs(cached) else Path.home() / ".cache") / "pyserver" / "environments"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a finished entry: where it is from, its size in bytes, when it was made (seconds, Unix)."""

    source: str
    nbytes: int
    made: float
    facts: Facts


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the cache, whether something is in it or not."""

    root: Path
    key: str

    @property
    def folder(self) -> Path:
        """The entry's own folder."""
        return self.root / self.key

    @property
    def environment(self) -> Path:
        """The environment."""
        return self.folder / "env"

    @property
    def unfinished(self) -> Path:
        """Where it is unpacked to."""
        return self.root / f"{self.key}.tmp"

    @property
    def lock(self) -> Path:
        """The file whose lock says who may do what."""
        return self.root / "locks" / self.key

    @property
    def record(self) -> Record | None:
        """What is known of it; None unless it is finished, and has its interpreter still."""
        try:
            said = json.loads((self.folder / "complete.json").read_text())
            record = Record(said["source"], said["nbytes"], said["made"], Facts(**said["facts"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if os.path.exists(record.facts.interpreter) else None

    @property
    def complete_but_damaged(self) -> bool:
        """Whether it was finished once, and has lost something since."""
        return self.record is None and (self.folder / "complete.json").exists()

    def complete(self, source: str, nbytes: int, facts: Facts) -> None:
        """Say that it is finished, at one stroke."""
        record = Record(source, nbytes, time.time(), facts)
        written = self.folder / "complete.json.tmp"
        written.write_text(json.dumps(asdict(record)))
        written.replace(self.folder / "complete.json")

    def put_away(self) -> None:
        """Take it, and what is unfinished of it, out of everybody's sight; `Cache.empty_trash` deletes it."""
        for path in (self.folder, self.unfinished):
            if path.exists():
                path.rename(self.root / f"trash-{uuid.uuid4().hex}")


class Cache:
    """All entries below `root`, which is made if need be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (root / "locks").mkdir(exist_ok=True)
            (root / "known").mkdir(exist_ok=True)
        except OSError as error:
            raise internal(
                f"environment cache {root} can't be made: {error.strerror} (--environment-cache names another folder)"
            ) from None

    def entry(self, key: str) -> Entry:
        """The place of `key`."""
        return Entry(self.root, key)

    def use(self, key: str) -> tuple[Record, int] | None:
        """The record of a finished entry and a lock on it, held until the descriptor is closed; None if it isn't."""
        entry = self.entry(key)
        if entry.record is None:
            return None
        fd = _open(entry.lock)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.utime(fd)
            record = entry.record
        except BlockingIOError:
            record = None
        if record is None:
            os.close(fd)
            return None
        return record, fd

    @contextmanager
    def making(self, key: str, waits: Callable[[], None]) -> Iterator[Entry]:
        """Hold the entry alone, to make it, or see it finished: by then it may be shared with those who use it.

        `waits` is called if somebody else makes it now.
        """
        entry = self.entry(key)
        fd = _open(entry.lock)
        try:
            while not _locked_alone(fd):
                waits()
                # Whoever makes it is waited for; whoever uses it may do so for ever.
                fcntl.flock(fd, fcntl.LOCK_SH)
                if entry.record is not None:
                    break
                _check_damage(entry)
                fcntl.flock(fd, fcntl.LOCK_UN)
            yield entry
        finally:
            os.close(fd)

    def entries(self) -> list[Entry]:
        """Every entry that there is, finished or not, by age."""
        names = {path.name.removesuffix(".tmp") for path in self.root.iterdir() if is_key(path.name)}
        return sorted(map(self.entry, names), key=lambda entry: entry.record.made if entry.record else 0.0)

    def last_used(self, entry: Entry) -> float:
        """When somebody began to use it last (seconds, Unix)."""
        try:
            return entry.lock.stat().st_mtime
        except OSError:
            return 0.0

    def used(self, entry: Entry) -> bool:
        """Whether somebody makes or uses it now."""
        fd = _open(entry.lock)
        try:
            return not _locked_alone(fd)
        finally:
            os.close(fd)

    def remove(self, entry: Entry) -> bool:
        """Put an entry away unless somebody uses it; whether that was done."""
        fd = _open(entry.lock)
        try:
            if alone := _locked_alone(fd):
                entry.put_away()
            return alone
        finally:
            os.close(fd)

    def empty_trash(self) -> None:
        """Delete what was put away."""
        for path in self.root.glob("trash-*"):
            shutil.rmtree(path, ignore_errors=True)


def is_key(name: str) -> bool:
    """Whether a name in the cache is that of an entry."""
    key = name.removesuffix(".tmp")
    return len(key) == 32 and set(key) <= set("0123456789abcdef")


def out_of_space(error: OSError) -> bool:
    """Whether the disk, or a quota of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _locked_alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_damage(entry: Entry) -> None:
    """Nobody may make an entry anew under the feet of those who use it."""
    if entry.complete_but_damaged:
        raise internal(
            f"environment cache: {entry.folder} is damaged, and in use: stop the servers that use it and try again"
        )


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise internal(f"environment cache: {path}: {error.strerror}") from None
