"""Every kind of archive, whole, cut, damaged and hostile."""

from __future__ import annotations

import bz2
import gzip
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.environment import archive
from pyserver.environment.archive import Kind
from pyserver.environment.extract import extract
from pyserver.environment.guard import Guard, Limits, Type, clean
from pyserver.errors import ErrorCode, ServerError
from tests.environment.archives import (
    HOSTILE,
    HOSTILE_ZIPS,
    PACKERS,
    SAMPLE,
    ZIP_SAMPLE,
    files,
    info,
    tar,
    written,
    zipped,
)

KINDS = {"tar.gz": Kind.GZIP, "tar.bz2": Kind.BZIP2, "tar.xz": Kind.XZ, "tar.zst": Kind.ZSTD, "zip": Kind.ZIP}


def unpack(path: Path, folder: Path, limits: Limits | None = None) -> list[int]:
    """Extract; the progress that was reported."""
    folder.mkdir()
    reported: list[int] = []
    with path.open("rb") as file:
        extract(file, archive.recognise(path), folder, limits or Limits(), reported.append)
    return reported


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_tar_of_every_kind(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / "named.wrongly", PACKERS[suffix](tar(SAMPLE)))
    assert archive.recognise(path) is KINDS[suffix]
    reported = unpack(path, tmp_path / "out")
    assert reported == sorted(reported)
    assert reported[-1] == path.stat().st_size
    out = tmp_path / "out"
    assert (out / "bin/run").read_bytes() == (out / "bin/link").read_bytes() == b"#!true"
    assert (out / "lib/deep/er/link").resolve() == out / "bin/run"
    assert (out / "lib/hard").samefile(out / "bin/run")
    assert (out / "lib/empty").read_bytes() == b""
    assert os.readlink(out / "bin/python3") == "/usr/bin/python3"
    assert (out / "bin/run").stat().st_mode & 0o7777 == 0o755
    assert (out / "bin/run").stat().st_mtime == 1_000_000_000
    assert (out / "lib/read-only").read_bytes() == bytes(range(250)) * 400
    assert (out / "lib/read-only").stat().st_mode & 0o7777 == 0o644, "conda-unpack has to write it; no set-uid"
    assert (out / "lib" / ("long" * 60) / "x").read_bytes() == b"xyz"


def test_a_zip(tmp_path: Path) -> None:
    path = written(tmp_path / "x.zip", zipped(ZIP_SAMPLE))
    reported = unpack(path, tmp_path / "out")
    assert reported[-1] == path.stat().st_size
    out = tmp_path / "out"
    assert (out / "bin/run").stat().st_mode & 0o777 == 0o755
    assert (out / "bin/link").read_bytes() == b"#!true"
    assert (out / "bin/link").is_symlink()
    assert (out / "lib/plain").read_bytes() == b"text" * 10_000


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_several_streams_are_one_archive(tmp_path: Path, suffix: str, compress: object) -> None:
    """As packers with several threads write them."""
    assert callable(compress)
    plain = tar(SAMPLE)
    pieces = [plain[start : start + 7000] for start in range(0, len(plain), 7000)]
    unpack(written(tmp_path / "x", b"".join(map(compress, pieces))), tmp_path / "out")
    assert (tmp_path / "out/lib/read-only").read_bytes() == bytes(range(250)) * 400


@pytest.mark.parametrize("suffix", KINDS)
def test_cut_anywhere(tmp_path: Path, suffix: str) -> None:
    whole = zipped(ZIP_SAMPLE) if suffix == "zip" else PACKERS[suffix](tar(SAMPLE))
    for number, length in enumerate([*range(8, len(whole), max(1, len(whole) // 40)), len(whole) - 1]):
        path = written(tmp_path / "cut", whole[:length])
        with pytest.raises((*archive.damage(), OSError)) as caught:
            unpack(path, tmp_path / f"out{number}")
        assert getattr(caught.value, "errno", None) is None, "not the disk's"


def test_a_tar_that_ends_between_two_members(tmp_path: Path) -> None:
    """What compresses it is whole, so nothing but the missing end mark says so."""
    plain = tar(SAMPLE)
    cut = files(a=b"x" * 512)[:1024]
    path = written(tmp_path / "cut", gzip.compress(cut))
    with pytest.raises(EOFError):
        unpack(path, tmp_path / "out")
    damaged = bytearray(plain)
    damaged[512 + 150] ^= 0xFF  # the checksum of the second member
    with pytest.raises((EOFError, tarfile.TarError)):
        unpack(written(tmp_path / "damaged", gzip.compress(bytes(damaged))), tmp_path / "out2")


@pytest.mark.parametrize("suffix", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, suffix: str) -> None:
    noise = os.urandom(20_000)
    whole = zipped([("a", noise, 0)]) if suffix == "zip" else PACKERS[suffix](files(a=noise))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    with pytest.raises((*archive.damage(), OSError)):
        unpack(written(tmp_path / "x", bytes(damaged)), tmp_path / "out")


@pytest.mark.parametrize(("members", "why"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tar(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], why: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(ServerError, match=why) as caught:
        unpack(written(tmp_path / "x", gzip.compress(tar(members))), inside / "out")
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert "the archive is refused" in caught.value.message
    assert list(inside.iterdir()) == [inside / "out"]
    assert not Path("/tmp/x").exists()


@pytest.mark.parametrize(("members", "why"), HOSTILE_ZIPS.values(), ids=HOSTILE_ZIPS)
def test_a_hostile_zip(tmp_path: Path, members: list[tuple[str, bytes, int]], why: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(ServerError, match=why):
        unpack(written(tmp_path / "x", zipped(members)), inside / "out")
    assert list(inside.iterdir()) == [inside / "out"]


def test_a_zip_that_is_encrypted(tmp_path: Path) -> None:
    data = bytearray(zipped([("a", b"x", 0)]))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ServerError, match="encrypted"):
        unpack(written(tmp_path / "x", bytes(data)), tmp_path / "out")


@pytest.mark.parametrize("suffix", KINDS)
def test_a_bomb(tmp_path: Path, suffix: str) -> None:
    zeros = bytes(8_000_000)
    bomb = zipped([("a", zeros, 0)]) if suffix == "zip" else PACKERS[suffix](files(a=zeros))
    path = written(tmp_path / "x", bomb)
    with pytest.raises(ServerError, match="more than 100 times as many"):
        unpack(path, tmp_path / "out", Limits(ratio=100, slack=1_000_000))
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) < 5_000_000
    with pytest.raises(ServerError, match="more than 5000000 bytes"):
        unpack(path, tmp_path / "out2", Limits(nbytes=5_000_000))


def test_a_header_that_claims_to_be_huge(tmp_path: Path) -> None:
    """A long name of 1 TiB would be read into memory before anything could be checked."""
    huge = info("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1 << 40).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ServerError, match="a header of"):
        unpack(written(tmp_path / "x", gzip.compress(huge + bytes(10_000))), tmp_path / "out")


def test_too_many_members(tmp_path: Path) -> None:
    many = files(**{f"f{number}": b"" for number in range(11)})
    with pytest.raises(ServerError, match="more than 10 members"):
        unpack(written(tmp_path / "x", gzip.compress(many)), tmp_path / "out", Limits(members=10))


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=5).map("/".join)
MEMBERS = st.tuples(NAMES, st.sampled_from(Type), NAMES)


@settings(max_examples=300)
@given(st.lists(MEMBERS, max_size=8))
def test_what_is_admitted_stays_inside(members: list[tuple[str, Type, str]]) -> None:
    """Played on a model of a file system: after any admitted members, no path inside leads outside."""
    guard = Guard(Limits())
    links: dict[str, str] = {}
    for name, type, target in members:
        try:
            member = guard.admit(name, type, 0, 0o644, target)
        except ServerError:
            continue
        if member is not None:
            assert resolved(member.name, links) == member.name, "nothing is written through a link"
            if member.type is Type.SYMLINK:
                links[member.name] = member.target
    for link in links:
        resolved(link, links, follow=True)


def resolved(path: str, links: dict[str, str], follow: bool = False) -> str:
    """Where a path below the root leads to by the kernel's rules; fails if it leads out on its way."""
    done: list[str] = []
    left = path.split("/")
    for _ in range(100):
        if not left:
            return "/".join(done)
        part, *left = left
        if part == "..":
            assert done, f"{path} leads out by {links}"
            done.pop()
        elif part not in ("", "."):
            done.append(part)
            here = "/".join(done)
            if here in links and (left or follow):
                left = [*links[here].split("/"), *left]
                done.pop()
    return ""  # a loop: the kernel gives up too


def test_clean_names() -> None:
    assert [clean(name) for name in ("./a//b/", "a/./b", ".", "", "./")] == ["a/b", "a/b", "", "", ""]
    for name in ("/a", "..", "a/..", "a\0b", "a" * 256):
        with pytest.raises(ServerError):
            clean(name)


@pytest.mark.parametrize("first", [b"", b"PK\5\6", b"\x1f", b"MZ" * 10, b"\x7fELF" + bytes(20)])
def test_no_archive(tmp_path: Path, first: bytes) -> None:
    with pytest.raises(ServerError, match="not an archive of a known kind"):
        archive.recognise(written(tmp_path / "x.tar.gz", first))
