"""Small helpers over the clients that the tests talk with."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

import numpy as np
from tritonclient import http as triton_http

from tools.process import ServerProcess


class Answer(NamedTuple):
    """A raw HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


def ask(
    server: ServerProcess, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """One HTTP request on a connection of its own, sent as it is; header names come back in lower case."""
    connection = http.client.HTTPConnection(server.http, timeout=30)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def infer_json(server: ServerProcess, model: str, value: Any, **headers: str) -> Answer:
    """POST `value` as JSON to a model's infer."""
    return ask(server, "POST", f"/v2/models/{model}/infer", json.dumps(value).encode(), headers)


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    """An input of a JSON request."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def one_input(name: str, array: np.ndarray[Any, Any], datatype: str) -> triton_http.InferInput:
    """An input for tritonclient's HTTP clients."""
    made = triton_http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def constant(server: ServerProcess, model: str, version: str = "") -> int:
    """The VALUE of a model of `write_constant`."""
    path = f"/versions/{version}" if version else ""
    body = json.dumps({"inputs": [tensor("ASKED", "BOOL", [1], [True])]}).encode()
    answer = ask(server, "POST", f"/v2/models/{model}{path}/infer", body)
    assert answer.status == 200, answer
    return int(answer.json["outputs"][0]["data"][0])


def index(server: ServerProcess) -> dict[tuple[str, str], dict[str, str]]:
    """The repository index by (name, version)."""
    answer = ask(server, "POST", "/v2/repository/index")
    assert answer.status == 200, answer
    return {(entry["name"], entry.get("version", "")): entry for entry in answer.json}
