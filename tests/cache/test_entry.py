"""Entries as bytes, and what is no entry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyserver.cache.entry import CachedTensor, Entry, pack, unpack
from pyserver.types import InferResponse, Tensor

NUMBERS = CachedTensor("Y", "FP32", (2, 1), b"12345678")
TEXT = CachedTensor("T", "BYTES", (1,), b"\2\0\0\0ab")
ENTRY = Entry((NUMBERS, TEXT), {"lang": "de", "n": 1})


def test_round_trip() -> None:
    for entry in (ENTRY, Entry((), None), Entry((CachedTensor("", "FP32", (0, 4), b""),), {})):
        assert unpack(pack(entry)) == entry


def test_it_keeps_nothing_of_the_answer_and_gives_nothing_of_itself() -> None:
    memory = bytearray(b"12345678")
    parameters: dict[str, bool | int | float | str] = {"a": 1}
    entry = Entry.of(InferResponse("m", "1", "x", [Tensor("Y", "FP32", (2,), memoryview(memory))], parameters))
    memory[:] = bytes(8)
    parameters["a"] = 2
    first = entry.response("m", "2", "y")
    assert (first.model_version, first.id, first.parameters, first.lease) == ("2", "y", {"a": 1}, None)
    first.outputs[0].shape = (9, 9)
    assert entry.response("m", "2", "z").outputs[0] == Tensor("Y", "FP32", (2,), b"12345678")


def test_cut_at_every_byte() -> None:
    packed = pack(ENTRY)
    assert [unpack(packed[:at]) for at in range(len(packed))] == [None] * len(packed)
    assert unpack(packed + b"x") is None


@given(st.integers(0, len(pack(ENTRY)) - 1), st.integers(0, 255))
def test_a_changed_byte_is_no_error(at: int, byte: int) -> None:
    packed = bytearray(pack(ENTRY))
    packed[at] = byte
    unpack(bytes(packed))


@given(st.binary(max_size=80))
def test_garbage(packed: bytes) -> None:
    unpack(packed)


def test_tensors_that_contradict_themselves() -> None:
    for broken in ("[[1,2]]", '[["Y","FP32",[3],8]]', '[["Y","FP31",[2],8]]', '[["Y","FP32",[-2],8]]', "{}", "3"):
        text = f'{{"outputs":{broken},"parameters":null}}'.encode()
        assert unpack(len(text).to_bytes(4, "little") + text + bytes(8)) is None
    deep = b'{"outputs":' + b"[" * 100_000
    assert unpack(len(deep).to_bytes(4, "little") + deep) is None
