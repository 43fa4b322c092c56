"""The table of registered regions: names, sizes, and regions that are unregistered while in use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.extension import regions as module
from pyserver.extension.regions import Regions
from pyserver.types import Part


@pytest.fixture
def table(tmp_path: Path) -> Any:
    (tmp_path / "k").write_bytes(bytes(range(100)))

    def opener(key: str, prefix: str) -> int:
        return os.open(tmp_path / key, os.O_RDWR)

    made = Regions(opener=opener)
    yield made
    made.close()


def refused(call: Any, *arguments: Any) -> tuple[ErrorCode, str]:
    with pytest.raises(ServerError) as caught:
        call(*arguments)
    return caught.value.code, caught.value.message


def test_register_status_unregister(table: Regions) -> None:
    table.register("a", "k", 10, 20)
    table.register("b", "k", 0, 100)
    assert table.status("a") == [{"name": "a", "key": "k", "offset": 10, "byte_size": 20}]
    assert [entry["name"] for entry in table.status("")] == ["a", "b"]
    table.unregister("a")
    table.unregister("a")
    assert refused(table.status, "a") == (
        ErrorCode.NOT_FOUND,
        "Unable to find system shared memory region: 'a'",
    )
    table.unregister("")
    assert table.status("") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "k", 0, 1), "'region name' is necessary to register system shared memory region"),
        (("a/b", "k", 0, 1), "is no name"),
        (("a\nb", "k", 0, 1), "is no name"),
        (("x" * 257, "k", 0, 1), "is no name"),
        (("r", "k", 0, 0), "failed to register shared memory region 'r': invalid args"),
        (("r", "k", -1, 1), "invalid args"),
        (("r", "k", 0, 101), "Invalid shared memory region: 'k'"),
        (("r", "k", 100, 1), "Invalid shared memory region: 'k'"),
        (("r", "k", (1 << 63) - 1, (1 << 63) - 1), "Invalid shared memory region: 'k'"),
        (("r", "k", 0, 1 << 64), "invalid args"),
    ],
)
def test_what_can_not_be_registered(table: Regions, arguments: tuple[Any, ...], words: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    code, message = refused(table.register, *arguments)
    assert code is ErrorCode.INVALID_ARG
    assert words in message
    assert message.isprintable()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_is_taken_once(table: Regions) -> None:
    table.register("a", "k", 0, 1)
    assert refused(table.register, "a", "k", 0, 2) == (
        ErrorCode.ALREADY_EXISTS,
        "shared memory region 'a' already in manager",
    )


def test_there_are_not_too_many(table: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REGIONS", 2)
    table.register("a", "k", 0, 1)
    table.register("b", "k", 0, 1)
    assert refused(table.register, "c", "k", 0, 1)[0] is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part("a", 20, 1), "Invalid offset for shared memory region: 'a'"),
        (Part("a", -1, 1), "Invalid offset for shared memory region: 'a'"),
        (Part("a", 0, 21), "Invalid offset + byte size for shared memory region: 'a'"),
        (Part("a", 19, 2), "Invalid offset + byte size for shared memory region: 'a'"),
        (Part("a", 0, 0), "Invalid offset + byte size for shared memory region: 'a'"),
        (Part("z", 0, 1), "Unable to find shared memory region: 'z'"),
    ],
)
def test_a_part_lies_within_its_region(table: Regions, part: Part, words: str) -> None:
    table.register("a", "k", 10, 20)
    assert words in refused(table.find, part)[1]


def test_a_region_is_read_and_written_at_its_offset(table: Regions, tmp_path: Path) -> None:
    table.register("a", "k", 10, 20)
    part = Part("a", 5, 15)
    into = memoryview(bytearray(15))
    region = table.find(part)
    region.read(part, into)
    assert bytes(into) == bytes(range(15, 30))
    region.write(part, b"xy")
    assert (tmp_path / "k").read_bytes()[14:18] == b"\x0exy\x11"


def test_what_is_held_outlives_its_registration(table: Regions) -> None:
    table.register("a", "k", 0, 4)
    held = table.find(Part("a", 0, 4)).hold()
    table.unregister("a")
    table.register("a", "k", 50, 4)
    into = memoryview(bytearray(4))
    held.read(Part("a", 0, 4), into)
    assert bytes(into) == bytes(range(4))
    held.drop()
    with pytest.raises(OSError, match="Bad file descriptor"):
        held.read(Part("a", 0, 4), into)


def test_without_leave_every_request_is_refused() -> None:
    table = Regions(allowed=False)
    for call in (table.register, table.unregister, table.status):
        arguments: tuple[Any, ...] = ("a", "k", 0, 1) if call == table.register else ("",)
        code, message = refused(call, *arguments)
        assert code is ErrorCode.UNSUPPORTED
        assert "--allow-client-shm=true" in message
    assert refused(table.find, Part("a", 0, 1))[0] is ErrorCode.NOT_FOUND


def test_there_is_no_gpu(table: Regions) -> None:
    assert table.status_cuda("") == []
    table.unregister_cuda("x")
    assert "GPUs not supported" in refused(table.register_cuda, "x", bytes(64), 0, 4)[1]
    assert refused(table.status_cuda, "x") == (ErrorCode.NOT_FOUND, "Unable to find cuda shared memory region: 'x'")
