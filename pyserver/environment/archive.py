"""Which kinds of archive there are, told by their first bytes: a file's name proves nothing."""

from __future__ import annotations

import bz2
import enum
import gzip
import lzma
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

from pyserver.errors import invalid, unsupported

MAGIC_BYTES = 6


class Kind(enum.Enum):
    """How an archive is packed; all but ZIP are tar files inside."""

    GZIP = b"\x1f\x8b"
    BZIP2 = b"BZh"
    XZ = b"\xfd7zXZ\x00"
    ZSTD = b"\x28\xb5\x2f\xfd"
    ZIP = b"PK\x03\x04"


def recognise(path: Path) -> Kind:
    """The kind of the archive at `path`; ServerError (INVALID_ARG) if it is none that can be read here."""
    with path.open("rb") as file:
        first = file.read(MAGIC_BYTES)
    for kind in Kind:
        if first.startswith(kind.value):
            return kind
    shown = first.hex() or "nothing"
    raise invalid(
        "it is not an archive of a known kind: expected .tar.gz, .tar.bz2, .tar.xz, .tar.zst or .zip, it begins with"
        f" {shown}"
    )


def decompressed(file: BinaryIO, kind: Kind) -> BinaryIO:
    """A reader of the tar inside `file`; several streams one after the other, as parallel packers write, are one."""
    if kind is Kind.GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
    if kind is Kind.BZIP2:
        return cast(BinaryIO, bz2.BZ2File(file))
    if kind is Kind.XZ:
        return cast(BinaryIO, lzma.LZMAFile(file))
    return _zstd(file)


def _zstd(file: BinaryIO) -> BinaryIO:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile

        return cast(BinaryIO, ZstdFile(file))
    try:
        import zstandard
    except ImportError:
        raise unsupported(
            "it is a .tar.zst, which this Python reads only with zstandard: pip install zstandard"
        ) from None
    reader: Any = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return cast(BinaryIO, reader)


def damage() -> tuple[type[Exception], ...]:
    """What a reader raises when the archive is cut off or damaged."""
    import tarfile
    import zipfile
    import zlib

    kinds: list[type[Exception]] = [
        EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile, ValueError,
        NotImplementedError, RuntimeError,
    ]  # fmt: skip
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdError

        kinds.append(ZstdError)
    elif "zstandard" in sys.modules:
        kinds.append(sys.modules["zstandard"].ZstdError)
    return tuple(kinds)
