"""One inference over HTTP, between the bytes of its request and the buffers of its answer: no sockets here.

Both the Tornado handler and the fast lane go this way, so they cannot differ:

    request = read(data_plane, name, version, headers, body, lease, limits)
    response = await data_plane.infer(request)          # or data_plane.submit(request, reply)
    answer = finish(request, response, accept_encoding)
    ...                                      # write answer; then, in a finally: response.release()

Whatever is raised on the way becomes an answer by `failure`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from pyserver.errors import ServerError
from pyserver.frontend.rest import mlserver
from pyserver.frontend.rest.limits import Limits
from pyserver.model.model import DecoupledError
from pyserver.observe.formats import single
from pyserver.protocol import compression, mlserver_response, rest_infer, status
from pyserver.protocol.mlserver_schema import SchemaError
from pyserver.types import Buffer, InferRequest, InferResponse, Lease, OpenRequest

if TYPE_CHECKING:
    from pyserver.dataplane import DataPlane

log = logging.getLogger(__name__)

JSON = "application/json"
BINARY = "application/octet-stream"
HEADER_LENGTH = "Inference-Header-Content-Length"


class InferHeaders(NamedTuple):
    """The request headers that matter to an inference, as text; None where absent.

    `forwarded` are those that the model gets as parameters.
    """

    header_length: str | None = None
    content_encoding: str | None = None
    accept_encoding: str | None = None
    traceparent: str | None = None
    forwarded: Mapping[str, str] | None = None
    fields: mlserver.Fields | None = None


class Answer(NamedTuple):
    """An HTTP answer: its body is `buffers` in order, `size` bytes together.

    `header_length` is that of the JSON part where binary tensors follow it; the content type follows from it.
    `extra` are the headers beside Content-Type, Content-Length and Inference-Header-Content-Length.
    """

    status: int
    buffers: list[Buffer]
    size: int
    header_length: int | None = None
    extra: tuple[tuple[str, str], ...] = ()

    def headers(self) -> list[tuple[str, str]]:
        """All headers of the answer, Content-Length with them."""
        length = self.header_length
        head = [("Content-Type", JSON if length is None else BINARY), *self.extra, ("Content-Length", str(self.size))]
        if length is not None:
            head.append((HEADER_LENGTH, str(length)))
        return head


def read(
    data_plane: DataPlane,
    name: str,
    version: str,
    headers: InferHeaders,
    body: Buffer,
    lease: Lease | None,
    limits: Limits,
) -> InferRequest:
    """The inference that `body` asks of model `name`. `lease` holds the memory of `body`, None if it is ours.

    From here on the lease is the request's: if this raises (a ServerError), it has been released; otherwise whoever
    asks the data plane does so, by `let_go`, once he is answered, refused, or waits no more. An unknown model is
    refused before the body is looked at.
    """
    try:
        of_mlserver = data_plane.of_mlserver(name, version)
        header_length, encoding, _, parent, forwarded, _ = headers
        if encoding:
            body = compression.inflate(encoding, body, limits.max_input_size)
        if of_mlserver:
            request: InferRequest = mlserver.read(data_plane, name, version, headers, body, lease, limits)
        else:
            length = None if header_length is None else rest_infer.parse_header_length(header_length, len(body))
            request = rest_infer.decode(
                body, length, name, version, lease, limits.max_input_size, limits.max_json_depth
            )
        if forwarded:
            request.parameters.update(forwarded)
        if parent is not None and data_plane.traces.on:
            request.parameters = {**request.parameters, "traceparent": parent}
        return request
    except BaseException:
        if lease is not None:
            lease.release()
        raise


def now_if_traced(data_plane: DataPlane) -> int:
    """When (monotonic ns) something happens to a request, if it may be traced; else 0."""
    return time.monotonic_ns() if data_plane.traces.on else 0


def let_go(request: InferRequest) -> None:
    """Nobody waits for `request` any more: its body's memory is not needed for our sake."""
    lease = request.lease
    if lease is not None:
        lease.release()


def finish(request: InferRequest, response: InferResponse, accept_encoding: str | None) -> Answer:
    """The answer that carries `response`. Its buffers look into the response's memory until `response.release()`."""
    extra: tuple[tuple[str, str], ...] = ()
    if type(request) is OpenRequest:
        header_length, buffers, extra = mlserver_response.encode(response, request)
    else:
        header_length, buffers = rest_infer.encode(response, request)
    if accept_encoding:
        encoding = compression.choose(accept_encoding)
        if encoding:
            packed = compression.compress(encoding, buffers)
            return Answer(status.OK, [packed], len(packed), header_length, (*extra, ("Content-Encoding", encoding)))
    return Answer(status.OK, buffers, sum(map(len, buffers)), header_length, extra)


def failure(error: BaseException, request_id: str = "") -> Answer:
    """The answer that says what went wrong. What is no ServerError is our own mistake: logged, and told as 500."""
    if not isinstance(error, ServerError):
        log.error("an inference request failed [%s]", single(request_id), exc_info=error)
        body = status.error_body("internal error: see the server's log")
        return Answer(status.INTERNAL_SERVER_ERROR, [body], len(body))
    if isinstance(error, DecoupledError):
        error = DecoupledError("HTTP end point")
    code, body = status.http_error(error)
    if isinstance(error, SchemaError):
        body = error.body()
    extra: list[tuple[str, str]] = []
    seconds = status.retry_after(error)
    if seconds is not None:
        extra.append(("Retry-After", seconds))
    if isinstance(error, compression.UnsupportedEncodingError):
        extra.append(("Accept-Encoding", compression.ACCEPTED))
    return Answer(code, [body], len(body), None, tuple(extra))
