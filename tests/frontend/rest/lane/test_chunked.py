"""The chunked coding, against a reference, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.errors import ServerError
from pyserver.frontend.rest.lane.chunked import ChunkDecoder
from pyserver.frontend.rest.limits import Limits

BODY = b"3;name=value\r\nabc\r\n0A\r\n0123456789\r\n1\r\n\n\r\n0\r\nTrailer: x\r\nAnother:\r\n\r\n"
CONTENT = b"abc0123456789\n"


def decode(pieces: list[bytes], limits: Limits | None = None) -> tuple[bytes, ChunkDecoder, int]:
    """The content, the decoder, and how many bytes it took."""
    content = bytearray()
    decoder = ChunkDecoder(limits or Limits(), content.extend)
    taken = 0
    for piece in pieces:
        data = bytearray(b"??" + piece)
        with memoryview(data) as view:
            taken += decoder.feed(data, view, 2, len(data)) - 2
    return bytes(content), decoder, taken


def test_cut_at_every_byte() -> None:
    for at in range(len(BODY) + 1):
        content, decoder, taken = decode([BODY[:at], BODY[at:] + b"GET next"])
        assert (content, decoder.complete, taken) == (CONTENT, True, len(BODY))
    content, decoder, taken = decode([BODY[at : at + 1] for at in range(len(BODY))])
    assert (content, decoder.complete, decoder.chunks, decoder.size) == (CONTENT, True, 3, len(CONTENT))


def test_incomplete_at_every_byte() -> None:
    for at in range(len(BODY)):
        assert not decode([BODY[:at]])[1].complete


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.data())
def test_any_body_in_any_pieces(chunks: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    content, decoder, taken = decode(pieces)
    assert content == b"".join(chunks)
    assert decoder.complete
    assert taken == len(wire)


@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1 ;a\r\n",
        b"1\n",
        b"1;a\rb\r\n",
        b"1;a\0\r\n",
        b"1111111111111111\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"0\r\n: x\r\n",
        b"0\r\nno colon\r\n",
        b"0\r\n folded: x\r\n",
        b"0\r\nX: a\0\r\n",
        b"0\r\n\n",
        b"1" * 5000,
        b"1;" + b"a" * 5000,
    ],
)
def test_what_is_malformed_is_refused(wire: bytes) -> None:
    with pytest.raises(ServerError, match="malformed chunked request body"):
        decode([wire])
    with pytest.raises(ServerError, match="malformed chunked request body"):
        decode([wire[at : at + 1] for at in range(len(wire))])


def test_limits() -> None:
    limits = Limits(max_chunks=3, max_body_size=10, max_header_size=30)
    assert decode([b"1\r\na\r\n" * 3 + b"0\r\n\r\n"], limits)[1].complete
    with pytest.raises(ServerError, match="Chunked request body exceeds maximum of 3"):
        decode([b"1\r\na\r\n" * 4], limits)
    with pytest.raises(ServerError, match="--http-max-body-size"):
        decode([b"8\r\n01234567\r\n3\r\n"], limits)
    with pytest.raises(ServerError, match="--http-max-header-size"):
        decode([b"0\r\n" + b"X: 34567890\r\n" * 3], limits)
    with pytest.raises(ServerError, match="--http-max-body-size"):
        decode([b"fffffffffffffff\r\n"], limits)


def test_the_flood_that_others_die_of() -> None:
    """A million chunks of a byte each (CVE-2025-23310)."""
    wire = b"1\r\na\r\n" * 20_000
    decoder = ChunkDecoder(Limits(), lambda piece: None)
    data = bytearray(wire)
    with memoryview(data) as view:
        for _ in range(3):
            decoder.feed(data, view, 0, len(data))
        with pytest.raises(ServerError, match="exceeds maximum of 65536"):
            decoder.feed(data, view, 0, len(data))
    assert decoder.chunks == 65537
