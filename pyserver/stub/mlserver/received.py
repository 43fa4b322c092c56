"""Requests as the server sends them -> `InferenceRequest`, nothing of it validated again, no tensor copied."""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from pyserver.ipc import envelope
from pyserver.stub.mlserver.built import InputSource, built, lazy_data, lazy_kind
from pyserver.stub.request import ReceivedRequest

_MOST = 1024
_LONGEST = 16 * 1024
_NOTHING: Dict[str, Any] = {}
_ID = b'{"id":"'


class Received:
    """One request: `payload` for the model, `key` for the way back, `stream` where a stream is wanted, `feed` where
    more requests may follow, `typed` for the answer's envelope, `handler` where a custom handler is asked.
    """

    __slots__ = ("feed", "handler", "key", "payload", "request", "stream", "typed")

    def __init__(self, request: ReceivedRequest, payload: Any, stream: bool, typed: bool, feed: bool = False) -> None:
        self.request = request
        self.key = request.key
        self.payload = payload
        self.stream = stream
        self.feed = feed
        self.typed = typed
        self.handler: Optional[Handled] = None


class Reader:
    """Makes requests of the classes in `types`, a module as `mlserver.types`."""

    def __init__(self, types: Any) -> None:
        self._types = types
        self._lazy = lazy_kind(types.TensorData)
        self._known: Dict[bytes, Dict[str, Any]] = {}

    def read(self, request: ReceivedRequest) -> Received:
        """The request for the model."""
        tensors, headers, rest = self._opened(request.inputs())
        if "handler" in rest:
            return _handled(request, tensors, headers, rest["handler"])
        payload = self._payload(tensors, headers, rest, _identity(request))
        return Received(request, payload, rest.get("stream", False), rest.get("typed", False), rest.get("feed", False))

    def further(self, tensors: List[Any], identity: str) -> Any:
        """What a client says later in its stream, for the model; its id is that of the first request."""
        return self._payload(*self._opened(tensors), identity)

    def _opened(self, tensors: List[Any]) -> Tuple[List[Any], Dict[str, Any], Dict[str, Any]]:
        """The tensors without the envelope, and its two parts."""
        if not tensors or tensors[-1]._name != envelope.NAME:
            return tensors, _NOTHING, _NOTHING
        head, body = envelope.split(tensors[-1]._window())
        return tensors[:-1], self._parsed(head), self._parsed(body)

    def _payload(self, tensors: List[Any], headers: Dict[str, Any], rest: Dict[str, Any], identity: str) -> Any:
        return built(
            self._types.InferenceRequest,
            {
                "id": identity or None,
                "parameters": self._request_parameters(rest, headers, identity),
                "inputs": self._inputs(tensors, rest),
                "outputs": self._outputs(rest),
            },
            {"id", "parameters", "inputs"} | ({"outputs"} if "outputs" in rest else set()),
        )

    def _parsed(self, text: bytes) -> Dict[str, Any]:
        if not text:
            return _NOTHING
        known = self._known.get(text)
        if known is None:
            known = json.loads(text)
            if len(text) <= _LONGEST:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[text] = known
        return known

    def _request_parameters(self, rest: Dict[str, Any], headers: Dict[str, Any], identity: str) -> Any:
        own = headers.copy()
        if identity and headers:
            own["Ce-Id"] = own["Ce-Requestid"] = identity
        said = rest.get("parameters")
        if said or not own:
            return self._parameters(said or _NOTHING, own or None)
        return built(self._types.Parameters, {"content_type": None, "headers": own}, {"headers"}, {})

    def _parameters(self, said: Dict[str, Any], headers: Optional[Dict[str, Any]] = None) -> Any:
        extra = {name: copy.deepcopy(value) for name, value in said.items() if name != "content_type"}
        given = extra.pop("headers", None)
        headers = headers or given  # what came as headers is true, whatever the body says
        fields = {name for name in ("content_type",) if name in said} | ({"headers"} if headers else set())
        values = {"content_type": said.get("content_type"), "headers": headers}
        return built(self._types.Parameters, values, fields | set(extra), extra)

    def _inputs(self, tensors: List[Any], rest: Dict[str, Any]) -> List[Any]:
        said = rest.get("inputs")
        text = rest.get("text", False)
        inputs = []
        for at, tensor in enumerate(tensors):
            own = said[at] if said else _NOTHING
            name, datatype, shape, _ = tensor._spec
            if own.get("json"):
                datatype, shape = own["datatype"], own["shape"]
                data = built(self._types.TensorData, {"root": json.loads(bytes(tensor._window()))})
            else:
                data = lazy_data(self._lazy, InputSource(tensor, text, own.get("nested", False)))
            values = {"name": name, "shape": list(shape), "datatype": datatype, "parameters": None, "data": data}
            fields = {"name", "shape", "datatype", "data"}
            if "parameters" in own:
                values["parameters"] = self._parameters(own["parameters"])
                fields.add("parameters")
            inputs.append(built(self._types.RequestInput, values, fields))
        return inputs

    def _outputs(self, rest: Dict[str, Any]) -> Optional[List[Any]]:
        if "outputs" not in rest:
            return None
        made = []
        for said in rest["outputs"]:
            parameters = self._parameters(said["parameters"]) if "parameters" in said else None
            fields = {"name", "parameters"} if parameters is not None else {"name"}
            made.append(built(self._types.RequestOutput, {"name": said["name"], "parameters": parameters}, fields))
        return made


class Handled(NamedTuple):
    """What a custom handler is asked: by which route (`said`), with which headers and body."""

    said: Dict[str, Any]
    headers: Dict[str, str]
    body: bytes


def _handled(request: ReceivedRequest, tensors: List[Any], headers: Dict[str, str], said: Dict[str, Any]) -> Received:
    read = Received(request, None, False, False)
    read.handler = Handled(said, headers, bytes(tensors[0]._window()))
    return read


def _identity(request: ReceivedRequest) -> str:
    """The request's id; where nothing else is said beside it, without parsing that as JSON."""
    extras = request._extras
    if extras[:7] == _ID and extras.find(b'"', 7) == len(extras) - 2 and b"\\" not in extras:
        return extras[7:-2].decode()
    return request.request_id()


Pair = Tuple[Received, Any]
"""A request and the response to it."""
