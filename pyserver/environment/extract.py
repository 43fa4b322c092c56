"""Writes the members of an archive into an empty folder, each of them admitted by the guard."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pyserver.environment.archive import Kind, decompressed
from pyserver.environment.guard import Guard, Limits, Member, Type, refused
from pyserver.environment.stream import CHUNK, Counted, Forward

BLOCK = 512
MAX_TARGET = 4096
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC

TAR_TYPES = {
    tarfile.REGTYPE: Type.FILE,
    tarfile.AREGTYPE: Type.FILE,
    tarfile.CONTTYPE: Type.FILE,
    tarfile.DIRTYPE: Type.FOLDER,
    tarfile.SYMTYPE: Type.SYMLINK,
    tarfile.LNKTYPE: Type.HARDLINK,
}


def extract(file: BinaryIO, kind: Kind, folder: Path, limits: Limits, report: Callable[[int], None]) -> int:
    """Write all of the archive `file` into `folder` and return the bytes written; `report` hears how many were read.

    ServerError for what may not be in an archive; one of `archive.damage()` for a damaged one; OSError from the disk.
    """
    writer = _Writer(folder)
    if kind is Kind.ZIP:
        _extract_zip(file, writer, limits, report)
    else:
        _extract_tar(file, kind, writer, limits, report)
    return writer.written


def _extract_tar(file: BinaryIO, kind: Kind, writer: _Writer, limits: Limits, report: Callable[[int], None]) -> None:
    guard = Guard(limits)
    packed = Counted(file, report)
    stream = Forward(decompressed(io.BufferedReader(packed, CHUNK), kind), packed, limits)
    with tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as tar:  # type: ignore[call-overload]
        while (info := tar.next()) is not None:
            tar.members.clear()
            type = TAR_TYPES.get(info.type)
            if type is None or info.issparse():
                raise refused(f"member {info.name!r} is no file, folder or link (tar type {info.type!r})")
            size = info.size if type is Type.FILE else 0
            member = guard.admit(info.name, type, size, info.mode, info.linkname)
            if member is not None:
                stream.seek(info.offset_data)
                writer.write(member, _pieces(stream, member.size), info.mtime)
    # tarfile takes a damaged header for the end as well.
    if stream.last != bytes(BLOCK):
        raise EOFError("it ends before its end mark")
    while stream.read(CHUNK):  # the checksum stands at the end
        pass


def _pieces(stream: Any, size: int) -> Iterator[bytes]:
    """The next `size` bytes of `stream`."""
    while size:
        data = stream.read(min(CHUNK, size))
        if not data:
            raise EOFError("it ends in the middle of a file")
        size -= len(data)
        yield data


def _extract_zip(file: BinaryIO, writer: _Writer, limits: Limits, report: Callable[[int], None]) -> None:
    guard = Guard(limits)
    total = os.fstat(file.fileno()).st_size
    done = 0
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        limits.check_ratio(sum(info.file_size for info in infos), total)
        for info in infos:
            done += info.compress_size
            if member := _zip_member(archive, info, guard):
                if member.type is Type.FILE:
                    with archive.open(info) as stream:
                        writer.write(member, _pieces(stream, member.size), _zip_time(info))
                else:
                    writer.write(member, iter(()), _zip_time(info))
            report(min(done, total))
    report(total)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, guard: Guard) -> Member | None:
    """The member; zipfile itself drops its mode, and with it what is a link and what may be executed."""
    mode = info.external_attr >> 16
    if info.flag_bits & 1:
        raise refused(f"member {info.filename!r} is encrypted")
    if info.is_dir():
        return guard.admit(info.filename, Type.FOLDER)
    if stat.S_ISLNK(mode):
        if info.file_size > MAX_TARGET:
            raise refused(f"member {info.filename!r} is a link with a target of {info.file_size} bytes")
        return guard.admit(info.filename, Type.SYMLINK, target=os.fsdecode(archive.read(info)))
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise refused(f"member {info.filename!r} is no file, folder or link (mode {mode:o})")
    return guard.admit(info.filename, Type.FILE, info.file_size, stat.S_IMODE(mode) or 0o644)


def _zip_time(info: zipfile.ZipInfo) -> float:
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (OverflowError, ValueError):
        return 0.0


class _Writer:
    """Writes admitted members below a folder that nobody else writes to."""

    def __init__(self, folder: Path) -> None:
        self._root = str(folder)
        self._made = {self._root}
        self.written = 0

    def write(self, member: Member, pieces: Iterator[bytes], modified: float) -> None:
        """Make one member; its owner may always read and write it, nobody else more than its mode says."""
        path = f"{self._root}/{member.name}"
        if member.type is Type.FOLDER:
            self._make(path)
            return
        self._make(path.rpartition("/")[0])
        if member.type is Type.SYMLINK:
            os.symlink(member.target, path)
        elif member.type is Type.HARDLINK:
            os.link(f"{self._root}/{member.target}", path)
        else:
            self._write_file(path, member.mode & 0o777 | 0o600, pieces, modified)

    def _write_file(self, path: str, mode: int, pieces: Iterator[bytes], modified: float) -> None:
        fd = os.open(path, NEW, mode)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
                self.written += len(piece)
            # Compiled files are valid by the time of their source.
            os.utime(fd, (modified, modified))
        finally:
            os.close(fd)

    def _make(self, folder: str) -> None:
        if folder not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(folder)
