"""Requests to MLServer models over HTTP: their headers, and how a body is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyserver.protocol import compression, mlserver_headers, mlserver_request, rest_infer
from pyserver.types import Buffer, Lease, OpenRequest

if TYPE_CHECKING:
    from pyserver.dataplane import DataPlane
    from pyserver.frontend.rest.infer import InferHeaders
    from pyserver.frontend.rest.limits import Limits


class Fields:
    """All headers of a request, for the models that want to see them; made into JSON once, for who asks."""

    __slots__ = ("_fields", "_known")

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._fields = fields
        self._known: dict[str, bytes] = {}

    def as_json(self, server_name: str, model_name: str) -> bytes:
        """As `mlserver_headers.of_request`."""
        text = self._known.get(model_name)
        if text is None:
            text = self._known[model_name] = mlserver_headers.of_request(self._fields, server_name, model_name)
        return text


def read(
    data_plane: DataPlane,
    name: str,
    version: str,
    headers: InferHeaders,
    body: Buffer,
    lease: Lease | None,
    limits: Limits,
    stream: bool = False,
) -> OpenRequest:
    """The request in `body`, inflated; `stream` says that any number of responses is wanted. As `rest_infer.decode`."""
    length = None if headers.header_length is None else rest_infer.parse_header_length(headers.header_length, len(body))
    fields, server = headers.fields, data_plane.name
    said = fields.as_json(server, name) if fields is not None else b""
    return mlserver_request.decode(body, length, name, version, lease, limits.max_input_size, said, server, stream)


def read_stream(
    data_plane: DataPlane, name: str, version: str, headers: InferHeaders, body: Buffer, limits: Limits
) -> OpenRequest:
    """The stream that `body` asks of a model."""
    if headers.content_encoding:
        body = compression.inflate(headers.content_encoding, body, limits.max_input_size)
    return read(data_plane, name, version, headers, body, None, limits, stream=True)
