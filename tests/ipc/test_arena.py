"""The arena against a plain model of it, and the memory behind it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyserver.ipc import arena
from pyserver.ipc.arena import IDLE_NS, Arena, ArenaFull, Mapping

MIB = 1 << 20


@pytest.fixture
def fd() -> Iterator[int]:
    fd = arena.create("test", 1 << 30)
    yield fd
    os.close(fd)


def resident(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


class Model(RuleBasedStateMachine):
    """Blocks never overlap, keep what was written to them, and stay within the budget."""

    BUDGET = 4 * MIB

    def __init__(self) -> None:
        super().__init__()
        self.fd = arena.create("model", 64 * MIB)
        self.arena = Arena(self.fd, self.BUDGET, 4096)
        self.live: dict[int, bytes] = {}
        self.counter = 0
        self.now = IDLE_NS

    @rule(nbytes=st.one_of(st.integers(0, 5000), st.integers(0, 200_000), st.integers(0, 3 * MIB)))
    def allocate(self, nbytes: int) -> None:
        try:
            offset = self.arena.allocate(nbytes)
        except ArenaFull:
            assert sum(map(len, self.live.values())) + nbytes > self.BUDGET // 3, "it had room"
            return
        self.counter += 1
        content = bytes([self.counter % 256]) * nbytes
        self.arena.view[offset : offset + nbytes] = content
        assert offset not in self.live
        self.live[offset] = content

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.live)))
        self.arena.free(offset)
        del self.live[offset]
        with pytest.raises(KeyError):
            self.arena.free(offset)

    @rule(seconds=st.integers(0, 20))
    def trim(self, seconds: int) -> None:
        self.now += seconds * 1_000_000_000
        self.arena.trim(self.now)

    @invariant()
    def holds(self) -> None:
        end = 4096
        for offset, content in sorted(self.live.items()):
            assert offset % 64 == 0
            assert offset % mmap.PAGESIZE == 0 or len(content) <= 16 * 1024
            assert offset >= end
            end = offset + len(content)
            assert self.arena.view[offset:end] == content
        assert end <= self.arena.size
        assert self.arena.blocks == len(self.live)
        assert sum(map(len, self.live.values())) <= self.arena.used <= self.arena.held <= self.BUDGET
        assert resident(self.fd) <= self.arena.held + 4096
        assert self.arena.held + sum(size for _, size in self.arena._gaps) == self.arena.size - 4096

    def teardown(self) -> None:
        for offset in self.live:
            self.arena.free(offset)
        self.arena.trim(self.now + IDLE_NS)
        self.arena.trim(self.now + 2 * IDLE_NS)
        assert (self.arena.used, self.arena.held) == (0, 0)
        assert resident(self.fd) == 4096
        self.arena.close()


Model.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase


def test_the_last_block_freed_is_the_next_one_used(fd: int) -> None:
    made = Arena(fd)
    one, two = made.allocate(100), made.allocate(100)
    made.free(one)
    made.free(two)
    assert [made.allocate(65), made.allocate(128)] == [two, one]


def test_reuse_costs_no_system_call(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Arena(fd)
    sizes = [1, 64, 1000, 20_000, 3 * MIB]
    for size in sizes:
        made.free(made.allocate(size))
    monkeypatch.setattr(os, "posix_fallocate", None)
    for size in sizes:
        made.free(made.allocate(size))


def test_memory_is_there_before_it_is_used(fd: int) -> None:
    made = Arena(fd)
    made.allocate(8 * MIB)
    assert resident(fd) >= 8 * MIB


def test_out_of_memory_is_an_error(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Arena(fd)

    def none_left(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", none_left)
        with pytest.raises(ArenaFull):
            made.allocate(1)
        with pytest.raises(ArenaFull):
            made.allocate(MIB)
    assert made.held == 0
    made.free(made.allocate(MIB))


def test_over_budget_free_blocks_of_other_sizes_make_room(fd: int) -> None:
    made = Arena(fd, 4 * MIB)
    for size in (MIB, 2 * MIB, 100):
        made.free(made.allocate(size))
    kept = made.allocate(200)
    made.allocate(3 * MIB)
    with pytest.raises(ArenaFull, match="no room for 1048576 bytes: the arena may hold 4194304"):
        made.allocate(MIB)
    made.free(kept)
    assert made.held <= 4 * MIB


def test_a_fragmented_address_space_is_joined_again() -> None:
    fd = arena.create("small", 32 * MIB)
    made = Arena(fd)
    blocks = [made.allocate(MIB) for _ in range(32)]
    for block in blocks:
        made.free(block)
    assert made.allocate(32 * MIB) == 0
    made.close()


def test_trim_keeps_what_was_used_lately(fd: int) -> None:
    made = Arena(fd)
    kept = made.allocate(MIB)
    made.free(made.allocate(2 * MIB))
    made.trim(IDLE_NS)
    made.trim(IDLE_NS + 1)
    assert made.held == 3 * MIB, "too soon"
    made.free(made.allocate(2 * MIB))
    made.trim(2 * IDLE_NS)
    assert made.held == 3 * MIB, "it was used meanwhile"
    made.trim(3 * IDLE_NS)
    assert (made.held, resident(fd)) == (MIB, MIB)
    made.free(kept)


def test_a_slab_goes_only_as_a_whole(fd: int) -> None:
    made = Arena(fd)
    blocks = [made.allocate(1000) for _ in range(200)]
    for block in blocks[1:]:
        made.free(block)
    made.trim(IDLE_NS)
    made.trim(2 * IDLE_NS)
    assert made.held == 64 << 10
    made.free(blocks[0])
    assert sorted(made.allocate(1000) for _ in range(60))[0] == blocks[0]


def test_a_reader_sees_what_the_writer_wrote(fd: int) -> None:
    writer, reader = Arena(fd), Mapping(fd, writable=False)
    offset = writer.allocate(5)
    writer.view[offset : offset + 5] = b"hello"
    assert bytes(reader.view[offset : offset + 5]) == b"hello"
    assert reader.size == writer.size == 1 << 30
    with pytest.raises(TypeError):
        reader.view[0] = 1


def test_neither_side_can_shrink_it(fd: int) -> None:
    """A smaller file under a mapping would be a SIGBUS."""
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 4096)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 2 << 30)


def test_it_settles_for_less_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    real = mmap.mmap

    def limited(fd: int, size: int, **options: int) -> mmap.mmap:
        if size > 1 << 30:
            raise OSError(12, "Cannot allocate memory")
        return real(fd, size, **options)

    monkeypatch.setattr(mmap, "mmap", limited)
    fd = arena.create("limited")
    assert os.fstat(fd).st_size == 1 << 30
    os.close(fd)


def test_views_outlive_a_closed_arena(fd: int) -> None:
    made = Arena(os.dup(fd))
    offset = made.allocate(4)
    view = made.view[offset : offset + 4]
    view[:] = b"abcd"
    made.close()
    made.close()
    with pytest.raises(ArenaFull):
        made.allocate(MIB)
    made.free(offset)
    del made
    assert bytes(view) == b"abcd"
