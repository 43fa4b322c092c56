"""The compiled readers and packers of records against `pyserver.ipc.messages`, whose results they must have."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.core import records
from pyserver.ipc import messages as m

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)

words = st.integers(0, 2**64 - 1)
windows = st.lists(words, max_size=140).filter(lambda flat: len(flat) % 2 == 0).map(tuple)
layouts = st.binary(max_size=50).map(lambda found: found + bytes(-len(found) % 8))
responses = st.builds(
    m.pack_response, words, st.integers(0, 255), st.integers(0, 255), layouts, windows, st.binary(max_size=20)
)
executed = st.builds(m.pack_executed, words, words, words, words, words)
answered = st.builds(m.pack_answered, words, words, layouts, windows, words, words, words, words)
rows = st.builds(m.pack_rows, words, st.integers(1, m.rows.MOST_ROWS), layouts, words, st.integers(0, 2**32 - 1))
cold = st.builds(m.pack_json, st.sampled_from((m.LOG, m.HELLO)), st.just({"level": 20}))
messages = st.lists(responses | executed | answered | rows | cold, max_size=5).map(b"".join)


def outcome(read: Any, message: bytes) -> Any:
    try:
        return read(message)
    except m.MessageError as error:
        return str(error)


@given(st.lists(responses | executed | answered | rows, max_size=5).map(b"".join) | messages)
@PROPERTY
def test_reads_as_the_reference(message: bytes) -> None:
    assert records.from_stub(message) == m.from_stub(message)


@given(responses | rows, executed | answered | rows, st.data())
@PROPERTY
def test_a_broken_message_is_refused_in_the_same_words(first: bytes, second: bytes, data: st.DataObject) -> None:
    message = bytearray(first + second)
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    assert outcome(records.from_stub, cut) == outcome(m.from_stub, cut)


def test_cut_at_every_byte() -> None:
    layout = m.pack_layout(m.Layout((("A", "FP32", (1, 16)),)))
    message = m.pack_response(8, m.OK, m.FINAL, layout, (64, 64), b'{"a":1}') + m.pack_executed(7, 1, 2, 3, 4)
    message += m.pack_answered(8, 9, layout, (64, 64), 1, 2, 3, 4) + m.pack_rows(8, 3, layout, 64, 64)
    for end in range(len(message) + 1):
        assert outcome(records.from_stub, message[:end]) == outcome(m.from_stub, message[:end]), end


@given(words, words, st.integers(0, 2**32 - 1), layouts, windows, st.binary(max_size=9))
@PROPERTY
def test_packs_as_the_reference(
    payload: int, key: int, slot: int, layout: bytes, flat: m.Windows, extras: bytes
) -> None:
    for more in (b"", extras):
        packed = records.pack_execute_one(payload, key, slot, layout, flat, more)
        assert packed == m.pack_execute_one(payload, key, slot, layout, flat, more)
