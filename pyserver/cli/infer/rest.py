"""Requests over REST, on a connection that stays: as JSON, or with the tensors as binary data behind it."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from pyserver.cli.infer.options import Options
from pyserver.cli.infer.tensors import of_bytes, to_bytes
from pyserver.errors import ServerError, internal, invalid, unavailable

HEADER_LENGTH = "Inference-Header-Content-Length"
LOST = (OSError, http.client.HTTPException)


class RestTransport:
    """One worker's connection."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._path = f"/v2/models/{options.model_name}/infer"
        self._connection = self._connect()

    def infer(self, document: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; ServerError UNAVAILABLE where another try may help, another where it won't."""
        body, headers = self._encoded(document)
        try:
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except LOST as error:
            self.close()
            raise unavailable(f"{self._options.url}: {error or type(error).__name__}") from None
        if response.status != http.client.OK:
            raise _refused(response.status, content)
        return _decoded(content, response.headers.get(HEADER_LENGTH))

    def close(self) -> None:
        """Let the connection go; the next request makes another."""
        self._connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        options = self._options
        if not options.use_ssl:
            return http.client.HTTPConnection(options.url, timeout=options.timeout)
        context = ssl.create_default_context()
        if options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(options.url, timeout=options.timeout, context=context)

    def _encoded(self, document: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        headers = {"Content-Type": "application/json", **dict(self._options.headers)}
        for name in ("seldon-puid", "x-request-id"):
            headers[name] = document["id"]
        if not self._options.binary_data:
            return json.dumps(document).encode(), headers
        head, tail = with_binary(document)
        headers |= {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
        return head + tail, headers


def with_binary(document: dict[str, Any]) -> tuple[bytes, bytes]:
    """A request's JSON, and behind it the data of its inputs; ServerError for data of another type."""
    pieces = []
    inputs = []
    for tensor in document["inputs"]:
        try:
            pieces.append(to_bytes(tensor["datatype"], tensor["data"]))
        except ValueError as error:
            raise invalid(f"input '{tensor['name']}': {error}") from None
        parameters = {**(tensor.get("parameters") or {}), "binary_data_size": len(pieces[-1])}
        inputs.append({**{key: tensor[key] for key in tensor if key != "data"}, "parameters": parameters})
    parameters = {**(document.get("parameters") or {}), "binary_data_output": True}
    head = json.dumps({**document, "inputs": inputs, "parameters": parameters}).encode()
    return head, b"".join(pieces)


def _decoded(content: bytes, header_length: str | None) -> dict[str, Any]:
    """An answer with the data of every output in its JSON."""
    length = int(header_length) if header_length else len(content)
    try:
        document: dict[str, Any] = json.loads(content[:length])
    except ValueError:
        raise internal(f"the answer is no JSON: {content[:100]!r}") from None
    start = length
    for output in document.get("outputs", []):
        parameters = output.get("parameters") or {}
        size = parameters.pop("binary_data_size", None)
        if size is not None:
            output["data"] = of_bytes(output["datatype"], content[start : start + size])
            start += size
            if not parameters:
                output.pop("parameters", None)
    return document


def _refused(status: int, content: bytes) -> ServerError:
    try:
        document = json.loads(content)
        said = str(document.get("error") or document.get("detail") or document)
    except (ValueError, AttributeError):
        said = content[:200].decode("utf-8", "replace")
    again = status >= http.client.INTERNAL_SERVER_ERROR or status == http.client.TOO_MANY_REQUESTS
    return (unavailable if again else invalid)(f"status {status}: {said}")
