"""The head of a request, its request line and headers, from bytes to what a connection has to know. No I/O.

httptools (llhttp) does the parsing; what follows from the fields, and what two servers in a row might read in two ways
(RFC 9112, section 11.2), is decided here. A head says by itself, and alone, where its request ends: equal bytes always
mean the same, so a connection remembers the heads that it has seen.
"""

from __future__ import annotations

import re

import httptools

from pyserver.errors import ServerError, invalid
from pyserver.frontend.rest.infer import InferHeaders
from pyserver.frontend.rest.limits import Limits, body_too_large, header_too_large, input_too_large, too_many_headers
from pyserver.frontend.rest.mlserver import Fields
from pyserver.protocol import rest_path

END = b"\r\n\r\n"

_INFER = re.compile(rest_path.INFER)
_INFER_HEADERS = (b"inference-header-content-length", b"content-encoding", b"accept-encoding", b"traceparent")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)
_ONCE = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"content-encoding", b"inference-header-content-length")
)
_LISTS = frozenset((b"connection", b"expect", b"accept-encoding"))
_MAX_DIGITS = 18


class Head:
    """One request's head.

    Its body is `length` bytes long, or `chunked` (then `length` is 0). `infer` holds the headers that matter to the
    inference that it asks of version `model_version` ("" for none named) of model `model_name`; for any other request
    it is None. `fields` are all headers as sent, but for Host, which is what an absolute target says.
    """

    __slots__ = (
        "chunked", "expects_continue", "fields", "http_1_0", "infer", "keep_alive", "length", "method", "model_name",
        "model_version", "target",
    )  # fmt: skip

    def __init__(self, method: str, target: bytes, http_1_0: bool, fields: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target.decode("latin-1")
        self.http_1_0 = http_1_0
        self.fields = fields
        self.length = 0
        self.chunked = False
        self.keep_alive = not http_1_0
        self.expects_continue = False
        self.infer: InferHeaders | None = None
        self.model_name = ""
        self.model_version = ""

    @property
    def has_body(self) -> bool:
        """Whether any byte of a body follows."""
        return self.chunked or self.length > 0

    def texts(self) -> list[tuple[str, str]]:
        """All headers as text, names as sent."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.fields]

    def json_length(self) -> int:
        """How much of the body is JSON, or a raw tensor, as far as the head says; no more than the body."""
        assert self.infer is not None
        text = self.infer.header_length or ""
        said = int(text) if text.isdecimal() and text.isascii() and len(text) <= _MAX_DIGITS else 0
        return min(said, self.length) or self.length


class _Fields:
    """What httptools tells while it parses."""

    __slots__ = ("complete", "fields", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse(block: bytes, limits: Limits) -> Head:
    """The head in `block`, which ends with the first empty line.

    ServerError (400) for anything malformed, ambiguous or over a limit: where such a request ends is anybody's guess,
    so its connection has to be closed.
    """
    line = _checked_line(block, limits)
    parsed = _Fields()
    parser = httptools.HttpRequestParser(parsed)
    try:
        parser.feed_data(block)
    except httptools.HttpParserUpgrade:
        pass  # we speak nothing else, and an Upgrade may be ignored
    except httptools.HttpParserError as error:
        raise invalid(f"malformed HTTP request: {error}") from None
    if not parsed.complete:
        raise invalid("malformed HTTP request: its headers end too soon")
    if len(parsed.fields) > limits.max_headers:
        raise too_many_headers(len(parsed.fields), limits)
    head = Head(parser.get_method().decode("ascii"), parsed.target, line.endswith(b"1.0"), parsed.fields)
    known = _known_fields(parsed.fields)
    _frame(head, known)
    _route(head, parsed.target, known)
    return head


def _checked_line(block: bytes, limits: Limits) -> bytes:
    """The request line, after what llhttp may be lenient about: line ends, control characters, versions."""
    if len(block) > limits.max_header_size:
        raise header_too_large(limits)
    line = block[: block.index(b"\r\n")]
    if len(line) > limits.max_request_line:
        raise invalid(f"request line of {len(line)} bytes exceeds the maximum allowed {limits.max_request_line} bytes")
    lines = block.count(b"\r\n")
    if block.count(b"\n") != lines or block.count(b"\r") != lines or b"\0" in block:
        raise invalid("malformed HTTP request: its headers contain a bare CR, LF or NUL")
    if b"\n " in block or b"\n\t" in block:
        raise invalid("malformed HTTP request: a header line begins with white space")
    if not line.endswith((b" HTTP/1.1", b" HTTP/1.0")):
        raise invalid("malformed HTTP request: expected HTTP/1.1 or HTTP/1.0 at the end of the request line")
    if line.count(b" ") != 2:
        raise invalid("malformed HTTP request: expected a method, a target and a version in the request line")
    return line


def _known_fields(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers that we look at, by lower-case name. Lists are joined; 400 for a repetition of another."""
    known: dict[bytes, bytes] = {}
    for name, value in fields:
        key = name.lower()
        if key in _ONCE:
            if key in known:
                raise invalid(f"request has more than one '{name.decode('latin-1')}' header")
            known[key] = value
        elif key == b"traceparent":
            known[key] = value
        elif key in _LISTS:
            known[key] = known[key] + b"," + value if key in known else value
    return known


def _frame(head: Head, known: dict[bytes, bytes]) -> None:
    """Where the body ends, and what becomes of the connection then (RFC 9112, sections 6 and 9.3)."""
    length, coding = known.get(b"content-length"), known.get(b"transfer-encoding")
    if coding is not None:
        _check_chunked(head, coding, length)
        head.chunked = True
    elif length is not None:
        if not length.isdigit() or len(length) > _MAX_DIGITS:
            raise invalid(f"Content-Length is '{length.decode('latin-1')}', expected a number of bytes")
        head.length = int(length)
    if not head.http_1_0 and b"host" not in known:
        raise invalid("request has no 'Host' header, which HTTP/1.1 requires")
    if b"connection" in known:
        options = [option.strip() for option in known[b"connection"].lower().split(b",")]
        head.keep_alive = b"close" not in options and (not head.http_1_0 or b"keep-alive" in options)
    head.expects_continue = not head.http_1_0 and known.get(b"expect", b"").lower() == b"100-continue"


def _check_chunked(head: Head, coding: bytes, length: bytes | None) -> None:
    if length is not None:
        raise invalid("request has both a Content-Length and a Transfer-Encoding header")
    if coding.lower() != b"chunked":
        raise invalid(f"Transfer-Encoding is '{coding.decode('latin-1')}', expected 'chunked'")
    if head.http_1_0:
        raise invalid("request has a Transfer-Encoding header, which HTTP/1.0 doesn't know")


def _route(head: Head, target: bytes, known: dict[bytes, bytes]) -> None:
    """Make an absolute target relative (RFC 9112, section 3.2.2) and see whether an inference is asked for."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        host, target = absolute[1], absolute[2]
        if not target.startswith(b"/"):
            target = b"/" + target
        head.target = target.decode("latin-1")
        others = [(name, value) for name, value in head.fields if name.lower() != b"host"]
        head.fields = [(b"Host", host), *others]
    if head.method != "POST":
        return
    match = _INFER.fullmatch(head.target.partition("?")[0])
    if match is None:
        return
    try:
        head.model_version = rest_path.parse_version(match["version"] or "")
    except ServerError:
        return  # the application finds it out again, and says so
    head.model_name = match["name"]
    length, encoding, accepted, parent = (
        known[key].decode("latin-1") if key in known else None for key in _INFER_HEADERS
    )
    head.infer = InferHeaders(length, encoding, accepted, parent, fields=Fields(list(head.texts())))


def refusal_of_length(head: Head, limits: Limits) -> ServerError | None:
    """What is wrong with the length that the head announces, if anything."""
    if head.length > limits.max_body_size:
        return body_too_large(head.length, limits)
    if head.infer is not None and head.json_length() > limits.max_input_size:
        return input_too_large(head.json_length(), limits)
    return None
