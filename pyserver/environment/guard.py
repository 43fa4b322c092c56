"""What may be in an archive: lexical rules, checked for each member before anything of it is written.

An environment is code, and whoever packed it runs code anyway: the rules keep accidents and forged archives from
writing outside of their folder, not an author from what his own model may do.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pyserver.errors import ServerError, invalid

GIBIBYTE = 1 << 30
MAX_COMPONENT, MAX_NAME = 255, 3000


@dataclass(frozen=True, slots=True)
class Limits:
    """The most an archive may hold: unpacked bytes, members, and unpacked bytes for each packed one.

    The ratio counts from `slack` bytes on: small files of zeros are no attack.
    """

    nbytes: int = 64 * GIBIBYTE
    members: int = 1_000_000
    ratio: int = 200
    slack: int = 64 << 20

    def check_ratio(self, unpacked: int, packed: int) -> None:
        """Raise ServerError for a bomb: `packed` bytes became `unpacked`."""
        if unpacked > self.slack + self.ratio * packed:
            raise refused(f"{packed} bytes became {unpacked}: more than {self.ratio} times as many")
        if unpacked > self.nbytes:
            raise refused(f"it holds more than {self.nbytes} bytes")


class Type(enum.Enum):
    """What a member is; anything else is refused."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"


@dataclass(frozen=True, slots=True)
class Member:
    """A member that was admitted: `name` relative, clean, below the environment; `target` of a link as it is written.

    A hard link's target is the clean name of a file that was admitted before it.
    """

    name: str
    type: Type
    size: int
    mode: int
    target: str = ""


class Guard:
    """Admits the members of one archive, in their order."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: dict[str, Type] = {}
        self._folders = {""}
        self._bytes = 0

    def admit(self, name: str, type: Type, size: int = 0, mode: int = 0o755, target: str = "") -> Member | None:
        """The member with its clean name, None for the root folder itself; ServerError (INVALID_ARG) if refused."""
        path = clean(name)
        if len(self._seen) >= self._limits.members:
            raise refused(f"it has more than {self._limits.members} members")
        if not path:
            if type is Type.FOLDER:
                return None
            raise refused(f"member {name!r} is its root, but no folder")
        self._check_place(path, type)
        self._bytes += size
        if size < 0 or self._bytes > self._limits.nbytes:
            raise refused(f"it holds more than {self._limits.nbytes} bytes (member {name!r})")
        if type is Type.SYMLINK:
            check_symlink(path, target)
        elif type is Type.HARDLINK:
            target = self._hard_target(name, target)
        self._seen[path] = type
        if type is Type.FOLDER:
            self._folders.add(path)
        return Member(path, type, size, mode, target)

    def _check_place(self, path: str, type: Type) -> None:
        """Nothing is written twice, and nothing through a link or a file."""
        before = self._seen.get(path)
        if before is not None and not (before is type is Type.FOLDER):
            raise refused(f"member {path!r} is there twice")
        if type is not Type.FOLDER and path in self._folders:
            raise refused(f"member {path!r} is a {type.value} and a folder")
        parent = path.rpartition("/")[0]
        while parent not in self._folders:
            found = self._seen.get(parent, Type.FOLDER)
            if found is not Type.FOLDER:
                raise refused(f"member {path!r} lies behind {parent!r}, which is a {found.value}")
            self._folders.add(parent)
            parent = parent.rpartition("/")[0]

    def _hard_target(self, name: str, target: str) -> str:
        path = clean(target)
        if self._seen.get(path) not in (Type.FILE, Type.HARDLINK):
            raise refused(f"member {name!r} is a hard link to {target!r}, which is no file before it")
        return path


def clean(name: str) -> str:
    """`name` without its "." parts; ServerError for one that leads out, or that no file system takes."""
    if name.startswith("/") or "\0" in name:
        raise refused(f"member {name[:200]!r} has an absolute name")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise refused(f"member {name[:200]!r} leads out of it")
    if len(name) > MAX_NAME or any(len(part.encode("utf-8", "surrogateescape")) > MAX_COMPONENT for part in parts):
        raise refused(f"member {name[:80]!r}... has a name that is too long")
    return "/".join(parts)


def check_symlink(path: str, target: str) -> None:
    """Raise ServerError unless the link stays inside.

    ".." is taken at the front only, where it climbs folders that are known to be real. An interpreter's absolute link
    is let through: that is how a packed venv names its base.
    """
    if target.startswith("/"):
        folder, _, name = path.rpartition("/")
        if folder == "bin" and name.startswith("python") and "\0" not in target:
            return
        raise refused(f"member {path!r} is a link to {target[:200]!r}, an absolute name")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if climbs > path.count("/") or ".." in parts[climbs:] or not target or "\0" in target:
        raise refused(f"member {path!r} is a link to {target[:200]!r}, which leads out of it")


def refused(why: str) -> ServerError:
    """The error for an archive that is not taken."""
    return invalid(f"the archive is refused: {why}")
