"""The channel: whole messages, however the socket feels."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.ipc import channel, messages
from pyserver.ipc.channel import LAST_PART, PART, Channel
from pyserver.ipc.messages import MAX_MESSAGE, MessageError, record


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    server, stub = (Channel(sock) for sock in channel.pair())
    yield server, stub
    server.close()
    stub.close()


def test_one_send_carries_all_records(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    for number in range(3):
        server.put(messages.pack_free([number]))
    assert server.flush()
    assert messages.from_server(stub.receive()) == [(messages.FREE, (0,)), (messages.FREE, (1,)), (messages.FREE, (2,))]


def test_nothing_to_send_sends_nothing(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    assert server.flush()
    stub.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        stub.receive()


def test_an_empty_socket_is_no_end(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    with pytest.raises(BlockingIOError):
        server.receive()
    stub.close()
    assert server.receive() == b""
    assert server.receive() == b""


def test_what_was_said_before_the_end_is_heard(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    stub.put(messages.pack_json(messages.HELLO, {}))
    stub.flush()
    server.put(messages.pack_free([1]))
    server.flush()
    stub.close()  # with a message unread, which makes it a reset
    assert messages.from_stub(server.receive()) == [(messages.HELLO, b"{}")]
    assert server.receive() == b""


def test_sending_to_nobody_is_no_error(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    stub.close()
    server.put(messages.pack_free([1]))
    assert server.flush()
    assert server.receive() == b""


def test_a_full_socket_keeps_order(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    sent = 0
    while server.flush() and sent < 100_000:
        for _ in range(100):
            server.put(messages.pack_free([sent]))
            sent += 1
    assert sent < 100_000, "it was never full"
    for _ in range(50):
        server.put(messages.pack_free([sent]))
        sent += 1
    assert not server.flush()
    heard: list[int] = []
    while len(heard) < sent:
        heard += [offset for _, offsets in messages.from_server(stub.receive()) for offset in offsets]
        server.flush()
    assert heard == list(range(sent))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3 * MAX_MESSAGE), max_size=12))
def test_records_of_any_size_arrive_in_order(sizes: list[int]) -> None:
    server, stub = (Channel(sock) for sock in channel.pair())
    records = [record(messages.LOAD, bytes([number]) * size) for number, size in enumerate(sizes)]
    heard: list[bytes] = []
    count = len(records)

    def listen() -> None:
        while len(heard) < count:
            message = stub.receive()
            heard.extend(body for _, body in messages.from_server(message))

    listener = threading.Thread(target=listen)
    listener.start()
    server.sock.setblocking(True)
    for one in records:
        server.put(one)
    assert server.flush()
    listener.join()
    assert heard == [bytes([number]) * size for number, size in enumerate(sizes)]
    server.close()
    stub.close()


def part(kind: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(body) if length is None else length) + body


@pytest.mark.parametrize(
    "sent",
    [
        [part(PART, b"")],
        [part(PART, b"abc", 4)],
        [part(PART, b"abc", 2)],
        [part(LAST_PART + 1, b"abc")],
        [part(PART, b"abc"), record(messages.FREE, b"")],
        [b"\0\0\xff\xff"],
    ],
    ids=["empty", "says more", "says less", "unknown", "interrupted", "cut"],
)
def test_parts_out_of_place(ends: tuple[Channel, Channel], sent: list[bytes]) -> None:
    server, stub = ends
    for message in sent:
        stub.sock.send(message)
    with pytest.raises(MessageError):
        server.receive()


def test_endless_parts_end(ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    server, stub = ends
    monkeypatch.setattr(channel, "MAX_RECORD", 5)
    stub.sock.send(part(PART, b"abc"))
    stub.sock.send(part(PART, b"def"))
    with pytest.raises(MessageError, match="says 3 bytes, after 3"):
        server.receive()


def test_a_record_cut_off_by_the_end_is_not_heard(ends: tuple[Channel, Channel]) -> None:
    server, stub = ends
    stub.sock.send(part(PART, b"abc"))
    stub.sock.shutdown(socket.SHUT_WR)
    assert server.receive() == b""
