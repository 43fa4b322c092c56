"""Messages: what is packed is read again, what is cut or changed is refused, and nothing else ever happens."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.ipc import messages as m
from pyserver.ipc.messages import Layout, MessageError

names = st.text(max_size=20).filter(lambda text: text.isprintable())
dims = st.lists(st.integers(0, 2**64 - 1), max_size=5).map(tuple)
specs = st.tuples(names, st.sampled_from(m.DATATYPES[1:]), dims)
layouts = st.builds(Layout, st.lists(specs, max_size=20).map(tuple), st.lists(names, max_size=3).map(tuple))
words = st.integers(0, 2**64 - 1)
windows = st.lists(words, max_size=40).filter(lambda flat: len(flat) % 2 == 0).map(tuple)
extras = st.binary(max_size=50)
requests = st.tuples(words, st.integers(0, 2**32 - 1), st.binary(max_size=50), windows, extras)

A = Layout((("A", "FP32", (1, 16)), ("naïve", "BYTES", ())), ("OUT",))
PACKED = m.pack_layout(A)
FROM_SERVER = {
    "execute one": m.pack_execute_one(7, 8, 9, PACKED, (64, 64, 128, 5)),
    "execute": m.pack_execute(7, [(8, 9, PACKED, (64, 64, 128, 5), b'{"id":"x"}'), (10, 0, b"", (), b"")]),
    "execute rows": m.pack_execute_rows(7, 8, (9, 10, 11), PACKED, 64, 5),
    "free": m.pack_free((4096, 8192)),
    "load": m.pack_json(m.LOAD, {"model_name": "m"}),
    "finalize": m.record(m.FINALIZE, b""),
}
FROM_STUB = {
    "response": m.pack_response(8, m.OK, m.FINAL, PACKED, (64, 64, 128, 5)),
    "error": m.pack_response(8, 3, m.FINAL, b"", (), b'{"message":"no"}'),
    "executed": m.pack_executed(7, 1, 2, 3, 4),
    "answered": m.pack_answered(7, 8, PACKED, (64, 64), 1, 2, 3, 4),
    "rows": m.pack_rows(8, 3, PACKED, 64, 5),
    "hello": m.pack_json(m.HELLO, {"version": m.VERSION}),
}


def test_bytes_of_the_hot_records() -> None:
    """The format itself: a change here is a change of VERSION."""
    layout = m.pack_layout(Layout((("A", "FP32", (1, 16)),)))
    assert layout.hex() == "0100000001000b02410100000000000000100000000000000000000000000000"
    one = m.pack_execute_one(1, 2, 3, b"LAYOUT..", (64, 65))
    assert one == struct.pack("<IIQIIQIIIIQQ8s", 3, 64, 1, 1, 0, 2, 3, 1, 8, 0, 64, 65, b"LAYOUT..")
    response = m.pack_response(2, m.OK, m.FINAL, b"LAYOUT..", (64, 65))
    assert response == struct.pack("<IIQBBHIIIQQ8s", 19, 48, 2, 255, 1, 1, 8, 0, 0, 64, 65, b"LAYOUT..")
    assert m.pack_executed(1, 2, 3, 4, 5) == struct.pack("<II5Q", 20, 40, 1, 2, 3, 4, 5)
    answered = m.pack_answered(1, 2, b"LAYOUT..", (64, 65), 3, 4, 5, 6)
    assert answered == struct.pack("<II6QIIQQ8s", 23, 80, 1, 2, 3, 4, 5, 6, 1, 8, 64, 65, b"LAYOUT..")
    rows = m.pack_execute_rows(1, 2, (3, 4), b"LAYOUT..", 64, 65)
    assert rows == struct.pack("<II3Q4I8sII", 7, 56, 1, 2, 64, 65, 2, 8, 0, b"LAYOUT..", 3, 4)
    assert m.pack_rows(1, 2, b"LAYOUT..", 64, 65) == struct.pack("<IIQQ4I8s", 24, 40, 1, 64, 65, 2, 8, 0, b"LAYOUT..")
    assert m.pack_free((1, 2)) == struct.pack("<II2Q", 4, 16, 1, 2)


@given(layouts)
def test_layouts(layout: Layout) -> None:
    packed = m.pack_layout(layout)
    assert len(packed) % 8 == 0
    assert m.unpack_layout(packed) == layout


@given(words, requests)
def test_execute_one_is_execute(payload: int, request: m.Request) -> None:
    request = (*request[:2], request[2] + bytes(-len(request[2]) % 8), *request[3:])
    assert m.pack_execute_one(payload, *request) == m.pack_execute(payload, [request])


@given(words, words, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), words, st.integers(0, 2**32 - 1))
def test_execute_of_rows_is_execute(payload: int, key: int, slots: list[int], offset: int, size: int) -> None:
    alike = [(key + row, slot, PACKED, (offset + row * size, size), b"") for row, slot in enumerate(slots)]
    message = m.pack_execute_rows(payload, key, slots, PACKED, offset, size)
    assert m.from_server(message) == [(m.EXECUTE, payload, alike)]


@given(words, st.lists(requests, max_size=5), st.lists(words, max_size=5))
def test_executes(payload: int, listed: list[m.Request], offsets: list[int]) -> None:
    message = m.pack_execute(payload, listed) + m.pack_free(offsets) + m.record(m.FINALIZE, b"")
    assert m.from_server(message) == [(m.EXECUTE, payload, listed), (m.FREE, tuple(offsets)), (m.FINALIZE, b"")]


@given(words, st.integers(0, 255), st.integers(0, 255), windows, extras, st.lists(words, min_size=5, max_size=5))
def test_responses(key: int, code: int, flags: int, flat: m.Windows, more: bytes, executed: list[int]) -> None:
    message = m.pack_response(key, code, flags, PACKED, flat, more) + m.pack_executed(*executed)
    assert m.from_stub(message) == [(m.RESPONSE, key, code, flags, PACKED, flat, more), (m.EXECUTED, *executed)]


@pytest.mark.parametrize(
    ("read", "packed"),
    [(m.from_server, packed) for packed in FROM_SERVER.values()]
    + [(m.from_stub, packed) for packed in FROM_STUB.values()],
    ids=[*FROM_SERVER, *FROM_STUB],
)
def test_cut_at_every_byte(read: Callable[[bytes], list[Any]], packed: bytes) -> None:
    whole = m.record(m.FREE if read is m.from_server else m.LOG, b"")
    assert len(read(whole + packed)) == 2
    _, length = struct.unpack_from("<II", packed)
    for end in range(1, 8 + length):
        with pytest.raises(MessageError):
            read(packed[:end])
    for end in range(8, 8 + length):  # the header says as much as there is
        cut = struct.pack("<II", packed[0], end - 8) + packed[8:end]
        hot = (m.EXECUTE, m.EXECUTE_ROWS, m.RESPONSE, m.EXECUTED, m.ANSWERED, m.ROWS)
        if packed[0] in hot or (packed[0] == m.FREE and end % 8):
            with pytest.raises(MessageError):
                read(cut)


def test_layout_cut_at_every_byte() -> None:
    for end in range(len(PACKED)):
        with pytest.raises(MessageError):
            m.unpack_layout(PACKED[:end])
    with pytest.raises(MessageError):
        m.unpack_layout(PACKED + bytes(8))


@settings(max_examples=300)
@given(st.sampled_from([*FROM_SERVER.values(), *FROM_STUB.values(), PACKED]), st.data())
def test_changed_bytes_are_read_or_refused(packed: bytes, data: st.DataObject) -> None:
    changed = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    for read in (m.from_server, m.from_stub, m.unpack_layout, m.unpack_json):
        try:
            read(bytes(changed))
        except MessageError:
            pass


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    for read in (m.from_server, m.from_stub, m.unpack_layout, m.unpack_json):
        try:
            read(noise)
        except MessageError:
            pass


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_json_that_is_no_object(body: bytes) -> None:
    with pytest.raises(MessageError):
        m.unpack_json(body)


def test_each_side_hears_only_the_other() -> None:
    for packed in FROM_SERVER.values():
        with pytest.raises(MessageError, match="unknown message kind"):
            m.from_stub(packed)
    for packed in FROM_STUB.values():
        with pytest.raises(MessageError, match="unknown message kind"):
            m.from_server(packed)
