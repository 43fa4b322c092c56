"""Archives written member by member: good ones of every kind, and ones that no packer makes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zstandard

Tar = Callable[[tarfile.TarFile], None]

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.ZstdCompressor().compress,
}


def info(
    name: str, type: bytes = tarfile.REGTYPE, target: str = "", size: int = 0, mode: int = 0o644
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode, made.mtime = type, target, size, mode, 1_000_000_000
    return made


def tar(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An uncompressed tar of exactly these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return buffer.getvalue()


def files(**contents: bytes) -> bytes:
    """A tar of files alone."""
    return tar([(info(name, size=len(data)), data) for name, data in contents.items()])


def zipped(members: Sequence[tuple[str, bytes, int]]) -> bytes:
    """A zip of (name, content, mode)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            entry = zipfile.ZipInfo(name, (2020, 1, 2, 3, 4, 6))
            entry.external_attr = mode << 16
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


SAMPLE: list[tuple[tarfile.TarInfo, bytes]] = [
    (info("./", tarfile.DIRTYPE), b""),
    (info("./bin", tarfile.DIRTYPE, mode=0o755), b""),
    (info("bin/run", size=6, mode=0o755), b"#!true"),
    (info("bin/link", tarfile.SYMTYPE, "run"), b""),
    (info("bin/python3", tarfile.SYMTYPE, "/usr/bin/python3"), b""),
    (info("lib/deep/er/link", tarfile.SYMTYPE, "../../../bin/run"), b""),
    (info("lib/hard", tarfile.LNKTYPE, "bin/run"), b""),
    (info("lib/empty"), b""),
    (info("lib/" + "long" * 60 + "/x", size=3), b"xyz"),
    (info("lib/read-only", size=100_000, mode=0o4444), bytes(range(250)) * 400),
]

ZIP_SAMPLE = [
    ("bin/", b"", stat.S_IFDIR | 0o755),
    ("bin/run", b"#!true", stat.S_IFREG | 0o755),
    ("bin/link", b"run", stat.S_IFLNK | 0o777),
    ("lib/plain", b"text" * 10_000, 0),
]

HOSTILE: dict[str, tuple[Any, str]] = {
    "absolute": ([(info("/etc/passwd", size=1), b"x")], "absolute name"),
    "climbs": ([(info("../outside", size=1), b"x")], "leads out"),
    "climbs inside": ([(info("lib/../../outside", size=1), b"x")], "leads out"),
    "link out": ([(info("lib/link", tarfile.SYMTYPE, "../../outside"), b"")], "leads out"),
    "absolute link": ([(info("lib/link", tarfile.SYMTYPE, "/etc/passwd"), b"")], "absolute name"),
    "absolute link that is no python": ([(info("bin/sh", tarfile.SYMTYPE, "/bin/sh"), b"")], "absolute name"),
    "climbs behind a link": (
        [(info("a", tarfile.SYMTYPE, "."), b""), (info("b", tarfile.SYMTYPE, "a/a/a/../../.."), b"")], "leads out",
    ),
    "through a link": (
        [(info("bin/python", tarfile.SYMTYPE, "/tmp"), b""), (info("bin/python/x", size=1), b"x")], "lies behind",
    ),
    "through a file": ([(info("a", size=1), b"x"), (info("a/b", size=1), b"x")], "lies behind"),
    "over a link": ([(info("a", tarfile.SYMTYPE, "b"), b""), (info("a", size=1), b"x")], "there twice"),
    "twice": ([(info("a", size=1), b"x"), (info("./a", size=1), b"y")], "there twice"),
    "a file for a folder": ([(info("a/b", size=1), b"x"), (info("a", size=1), b"x")], "and a folder"),
    "hard link out": ([(info("a", tarfile.LNKTYPE, "/etc/passwd"), b"")], "absolute name"),
    "hard link to nothing": ([(info("a", tarfile.LNKTYPE, "b"), b"")], "no file before it"),
    "hard link to a link": (
        [(info("bin/python", tarfile.SYMTYPE, "/etc/passwd"), b""), (info("a", tarfile.LNKTYPE, "bin/python"), b"")],
        "no file before it",
    ),
    "device": ([(info("dev/null", tarfile.CHRTYPE), b"")], "no file, folder or link"),
    "block device": ([(info("dev/sda", tarfile.BLKTYPE), b"")], "no file, folder or link"),
    "fifo": ([(info("fifo", tarfile.FIFOTYPE), b"")], "no file, folder or link"),
    "a name of 300": ([(info("n" * 300, size=1), b"x")], "too long"),
    "a root that is a file": ([(info(".", size=1), b"x")], "no folder"),
}  # fmt: skip

HOSTILE_ZIPS: dict[str, tuple[list[tuple[str, bytes, int]], str]] = {
    "climbs": ([("../outside", b"x", 0)], "leads out"),
    "absolute": ([("/etc/passwd", b"x", 0)], "absolute name"),
    "link out": ([("link", b"../../outside", stat.S_IFLNK | 0o777)], "leads out"),
    "huge link": ([("link", b"a" * 5000, stat.S_IFLNK | 0o777)], "a target of 5000 bytes"),
    "device": ([("dev", b"", stat.S_IFCHR | 0o644)], "no file, folder or link"),
    "through a link": ([("a", b"b", stat.S_IFLNK | 0o777), ("a/c", b"x", 0)], "lies behind"),
}
