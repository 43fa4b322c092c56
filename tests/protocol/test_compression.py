import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol.compression import Inflater, UnsupportedEncodingError, choose, compress, inflate

LIMIT = 1 << 20
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(body=st.binary(max_size=2000))
def test_what_others_pack_is_unpacked(encoding: str, body: bytes) -> None:
    assert inflate(encoding, PACKERS[encoding](body), LIMIT) == body


@pytest.mark.parametrize(("encoding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@given(buffers=st.lists(st.binary(max_size=200), max_size=4))
def test_what_we_pack_others_unpack(encoding: str, unpack: object, buffers: list[bytes]) -> None:
    assert callable(unpack)
    assert unpack(compress(encoding, [memoryview(buffer) for buffer in buffers])) == b"".join(buffers)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_may_come_byte_by_byte(encoding: str) -> None:
    body = bytes(range(256)) * 3
    inflater = Inflater(encoding, LIMIT)
    got = b"".join(inflater.feed(bytes([byte])) for byte in PACKERS[encoding](body))
    inflater.end()
    assert got == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_cut_anywhere_is_refused(encoding: str) -> None:
    packed = PACKERS[encoding](b"some body")
    for end in range(len(packed)):
        with pytest.raises(ServerError, match=f"ends in the middle of its {encoding} data"):
            inflate(encoding, packed[:end], LIMIT)


@pytest.mark.parametrize("name", ["", "identity", " Identity "])
def test_identity_is_no_encoding(name: str) -> None:
    body = b"as it is"
    assert inflate(name, body, 1) is body


@pytest.mark.parametrize("name", [" GZip ", "gzip"])
def test_names_have_no_case(name: str) -> None:
    assert inflate(name, gzip.compress(b"x"), LIMIT) == b"x"


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "x-gzip"])
def test_other_encodings_are_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedEncodingError, match=f"Unsupported compression type '{name}'") as caught:
        inflate(name, b"", LIMIT)
    assert caught.value.code is ErrorCode.UNSUPPORTED


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_may_fill_the_limit_and_no_more(encoding: str) -> None:
    assert inflate(encoding, PACKERS[encoding](bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(ServerError, match=r"more than 1000 bytes.*exceeds the maximum allowed.*--http-max-input-size"):
        inflate(encoding, PACKERS[encoding](bytes(1001)), 1000)


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(bytes(200 << 20), compresslevel=9)
    inflater = Inflater("gzip", 1 << 16)
    with pytest.raises(ServerError, match="inflates to more than 65536 bytes"):
        inflater.feed(bomb)


@pytest.mark.parametrize("body", [b"{}", zlib.compress(b"{}"), b"\x1f\x8b\x08\x00garbage....."])
def test_what_is_no_gzip_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ServerError, match="gzip data") as caught:
        inflate("gzip", body, LIMIT)
    assert caught.value.code is ErrorCode.INVALID_ARG


def test_raw_deflate_is_refused_as_in_triton() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with pytest.raises(ServerError, match="not valid deflate data"):
        inflate("deflate", packer.compress(b"x" * 50) + packer.flush(), LIMIT)


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(ServerError, match="3 bytes after the end of its gzip data"):
        inflate("gzip", gzip.compress(b"{}") + b"abc", LIMIT)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "deflate"),
        ("deflate;q=0.5, gzip;q=0.8", "gzip"),
        ("identity;q=1, gzip;q=0.9", ""),
        ("gzip;q=0.9, identity", ""),
        ("gzip, identity", "gzip"),
        ("*", ""),
        ("br", ""),
        ("br, gzip;q=0.1", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=abc", ""),
        ("GZIP ; Q=0.5", "gzip"),
        ("", ""),
        (",,;", ""),
        ("gzip;q=nan", ""),
    ],
)
def test_the_wanted_encoding(header: str, encoding: str) -> None:
    assert choose(header) == encoding
