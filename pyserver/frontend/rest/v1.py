"""The V1 routes, as KServe's servers answer them: models, predict, explain."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from functools import partial
from typing import Any

from pyserver.errors import ErrorCode, ServerError, not_found, unavailable, unsupported
from pyserver.frontend.rest.handler import Handler
from pyserver.frontend.rest.infer_handler import Infer
from pyserver.protocol import compression, rest_v1
from pyserver.protocol.rest_path import parse_version
from pyserver.types import InferResponse

# Reading or writing more JSON than this would hold up everybody else: a thread does it.
_INLINE = 64 * 1024


class Alive(Handler):
    """Whether the server runs."""

    kind = "health"

    def get(self) -> None:
        """`/`."""
        self.reply_json({"status": "alive"})


class Models(Handler):
    """The names of the models that serve."""

    kind = "metadata"

    def get(self) -> None:
        """`/v1/models`."""
        self.reply(rest_v1.names(dict.fromkeys(name for name, _, _ in self.data_plane.models())))


class Model(Handler):
    """Whether a model is ready."""

    kind = "health"

    async def get(self, name: str, version: str = "") -> None:
        """`/v1/models/{name}[/versions/{version}]`."""
        version = parse_version(version)
        _check_known(self, name, version)
        if not await self.data_plane.probe(name, version):
            raise _unready(name)
        self.reply_json({"name": name, "ready": True})


class Predict(Infer):
    """One inference, as rows of JSON."""

    kind = "inference"

    async def post(self, name: str, version: str = "") -> None:
        """`/v1/models/{name}[/versions/{version}]:predict`."""
        version = parse_version(version)
        _check_known(self, name, version)
        if not self.data_plane.model_ready(name, version):
            raise _unready(name)
        specs, batching = self.data_plane.model_inputs(name, version), self.data_plane.batching(name, version)
        forwarded, decode = self.forwarded() or {}, partial(self._decode, specs, batching, name, version)
        question = decode() if len(self.body) <= _INLINE else await asyncio.to_thread(decode)
        if self.gone:
            return
        question.request.parameters.update(forwarded)
        self.running = self.data_plane.infer(question.request)
        try:
            response = await self.running
        except CancelledError:
            raise ServerError(ErrorCode.CANCELLED, f"request to model '{name}' was cancelled") from None
        try:
            encoding = compression.choose(self.accepted() or "")
            encode = partial(_encode, response, question.one_row, encoding)
            large = sum(len(output.data) for output in response.outputs) > _INLINE
            text = await asyncio.to_thread(encode) if large else encode()
        finally:
            response.release()
        if encoding:
            self.set_header("Content-Encoding", encoding)
        self.reply(text)

    def _decode(self, specs: list[dict[str, Any]], batching: bool, name: str, version: str) -> rest_v1.Question:
        limit = self.rest.limits.max_input_size
        body = compression.inflate(self.request.headers.get("Content-Encoding", ""), self.body, limit)
        return rest_v1.decode(body, specs, batching, name, version, limit)


class Explain(Handler):
    """An explanation: no model here has one to give, which is said as KServe says it of a model without explainer."""

    kind = "inference"

    def post(self, name: str, version: str = "") -> None:
        """`/v1/models/{name}[/versions/{version}]:explain`."""
        version = parse_version(version)
        _check_known(self, name, version)
        if not self.data_plane.model_ready(name, version):
            raise _unready(name)
        raise unsupported(f"model '{name}' does not implement explain")


def _encode(response: InferResponse, one_row: bool, encoding: str) -> bytes:
    text = rest_v1.encode(response, one_row)
    return compression.compress(encoding, [text]) if encoding else text


def _check_known(handler: Handler, name: str, version: str) -> None:
    """KServe's words for a model that is not there."""
    try:
        handler.data_plane.check(name, version)
    except ServerError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        raise not_found(f"Model with name {name} does not exist. {error.message}") from None


def _unready(name: str) -> ServerError:
    return unavailable(f"Model with name {name} is not ready.")
