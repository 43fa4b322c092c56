"""Clients' shared memory objects: which may be opened, and what happens when they shrink."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.extension.object import file_name, open_object, read_into, shown, write_from


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "k").write_bytes(bytes(range(64)))
    descriptor = open_object("/k", folder=str(tmp_path))
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("key", ["/input", "input", "a b", "ä", "x" * 255])
def test_a_key_names_an_object(key: str) -> None:
    assert file_name(key) == key.removeprefix("/")


@pytest.mark.parametrize(
    "key",
    [
        "", "/", ".", "..", "/..", "//x", "a/b", "/../etc/passwd", "a\0b", "a\nb", "\ud800", "x" * 256, "ä" * 128,
        "triton_python_backend_shm_region_1", "/sem.lock",
    ],
)  # fmt: skip
def test_a_key_that_names_something_else_is_refused(key: str) -> None:
    with pytest.raises(ServerError, match="Invalid shared memory key") as caught:
        file_name(key)
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert caught.value.message.isprintable()


def test_a_prefix_is_asked_of_every_key() -> None:
    assert file_name("/client-a", "client-") == "client-a"
    with pytest.raises(ServerError, match="may not register"):
        file_name("/other", "client-")


def test_what_is_shown_is_short_and_printable() -> None:
    assert shown("a\r\nb\x1b") == "a??b?"
    assert len(shown("x" * 1000)) == 64


@pytest.mark.parametrize("make", ["missing", "link", "folder", "fifo", "unreadable"])
def test_what_is_no_object_is_not_opened(tmp_path: Path, make: str) -> None:
    path = tmp_path / "k"
    if make == "link":
        (tmp_path / "target").write_bytes(b"secret")
        path.symlink_to(tmp_path / "target")
    elif make == "folder":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "unreadable":
        path.write_bytes(b"")
        path.chmod(0)
        if os.geteuid() == 0:
            os.chown(path, 12345, -1)
    with pytest.raises(ServerError, match="Unable to open shared memory region: 'k'") as caught:
        open_object("k", folder=str(tmp_path))
    assert str(tmp_path) not in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may open what is somebody else's")
def test_somebody_elses_is_opened_if_it_is_everybodys_or_the_operator_says_so(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(b"")
    os.chown(path, 12345, -1)
    path.chmod(0o600)
    with pytest.raises(ServerError, match="somebody else's"):
        open_object("theirs", folder=str(tmp_path))
    os.close(open_object("theirs", "the", str(tmp_path)))
    path.chmod(0o666)
    os.close(open_object("theirs", folder=str(tmp_path)))


def test_reading_and_writing(opened: int, tmp_path: Path) -> None:
    into = memoryview(bytearray(8))
    read_into(opened, into, 4, "r")
    assert bytes(into) == bytes(range(4, 12))
    write_from(opened, b"abc", 61, "r")
    assert (tmp_path / "k").read_bytes()[-4:] == b"\x3cabc"


@pytest.mark.parametrize("left", [0, 10])
def test_an_object_that_has_shrunk_is_an_error_and_stays_as_it_is(opened: int, tmp_path: Path, left: int) -> None:
    os.truncate(tmp_path / "k", left)
    with pytest.raises(ServerError, match="'r' has shrunk"):
        read_into(opened, memoryview(bytearray(16)), 0, "r")
    with pytest.raises(ServerError, match="'r' has shrunk"):
        write_from(opened, bytes(16), 0, "r")
    assert (tmp_path / "k").stat().st_size == left
