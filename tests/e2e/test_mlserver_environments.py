"""MLServer's models in environments of their own: MLServer's own names where it is installed, a clear word without."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from tests.conftest import Serve
from tests.parity.mlserver import REQUIREMENTS
from tests.support.clients import ask, infer_json, tensor
from tests.support.runtimes import module_of, write_runtime
from tests.support.talks import talked
from tools.environments import environment, interpreters

pytestmark = pytest.mark.ours

WHOSE = """
import mlserver
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Whose(mlserver.MLModel):
    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0])
        file = StringCodec.encode_output("file", [mlserver.__file__])
        return InferenceResponse(model_name=self.name, outputs=[file, NumpyCodec.encode_output("y", x * 2)])
"""


def test_our_names_stand_in_where_there_is_no_mlserver(serve: Serve, tmp_path: Path) -> None:
    write_runtime(tmp_path, "whose", "models.Whose", source=WHOSE)
    answer = infer_json(serve(tmp_path), "whose", {"inputs": [tensor("x", "FP32", [1], [2])]})
    assert "pyserver" in answer.json["outputs"][0]["data"][0]
    assert answer.json["outputs"][1]["data"] == [4.0]


HANDLED = """
import pydantic
from fastapi import Depends, Header, Query
from mlserver import MLModel
from mlserver.handlers import custom_handler


class Body(pydantic.BaseModel):
    n: int


async def scaled(scale: float = Query(gt=0)) -> float:
    return scale


class Handled(MLModel):
    @custom_handler(rest_path="/handled/{number}")
    async def handled(self, body: Body, number: int, x_who: str = Header(), scale: float = Depends(scaled)) -> dict:
        return {"n": body.n, "number": number, "scale": scale, "who": x_who}
"""


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_an_environment_with_mlserver_keeps_using_it(serve: Serve, tmp_path: Path) -> None:
    python = str(environment("mlserver-pandas", REQUIREMENTS) / "bin/python")
    for name in ("Echo", "Decoded", "Frame", "Heard", "Broken", "Streams", "Talks"):
        write_runtime(tmp_path, name.lower(), f"{module_of(name)}.{name}", environment=python)
    write_runtime(tmp_path, "whose", "models.Whose", source=WHOSE, environment=python)
    write_runtime(tmp_path, "handled", "models.Handled", source=HANDLED, environment=python)
    server = serve(tmp_path)
    whose = infer_json(server, "whose", {"inputs": [tensor("x", "FP32", [1], [2])]})
    assert "site-packages/mlserver" in whose.json["outputs"][0]["data"][0]
    assert whose.json["outputs"][1]["data"] == [4.0]
    request = {"inputs": [tensor("a", "FP32", [2], [1, 2]), tensor("s", "BYTES", [2], ["x", "y"])]}
    outputs = infer_json(server, "decoded", request).json["outputs"]
    assert [output["data"] for output in outputs] == [[2.0, 4.0], ["x", "y", "x", "y"]]
    columns = {"inputs": [tensor("n", "FP64", [2, 1], [1.5, None]), tensor("k", "INT32", [2, 1], [1, 2])]}
    assert infer_json(server, "frame", columns).json["outputs"][0]["data"] == [1.5, None]
    heard = infer_json(server, "heard", {"parameters": {"p": [1]}, "inputs": []})
    assert json.loads(heard.json["outputs"][0]["data"][0])["p"] == [1]
    assert heard.headers["x-answer"] == "yes"
    failed = infer_json(server, "broken", {"inputs": [tensor("how", "BYTES", [1], ["client"])]})
    assert (failed.status, failed.error) == (400, "your fault")
    body = json.dumps({"inputs": [tensor("n", "INT32", [1], [2])]}).encode()
    assert ask(server, "POST", "/v2/models/streams/infer_stream", body).body.count(b"data: ") == 2
    with grpc.insecure_channel(server.grpc) as channel:
        assert talked(channel) == [[1, 1], [6, 2], [6, 2, -1]]
    echoed = infer_json(server, "echo", {"inputs": [tensor("x", "BYTES", [1], "bare")]})
    assert echoed.json["outputs"][0]["data"] == "bare"
    answer = ask(server, "POST", "/handled/7?scale=2", b'{"n": 5}', {"X-Who": "me"})
    assert answer.json == {"n": 5, "number": 7, "scale": 2.0, "who": "me"}
    assert ask(server, "POST", "/handled/7", b'{"n": 5}', {"X-Who": "me"}).status == 422
    assert ask(server, "POST", "/handled/7?scale=0", b'{"n": 5}', {"X-Who": "me"}).status == 422
    handled = ask(server, "GET", "/v2/models/handled/docs/dataplane.json").json["paths"]["/handled/{number}"]["post"]
    assert {each["name"] for each in handled["parameters"]} == {"number", "scale", "x-who"}


OLDEST = sorted(interpreters())[0]
NUMPY = "numpy==1.24.4" if OLDEST == (3, 8) else "numpy"


@pytest.mark.timeout(400)  # the first time numpy has to be installed
def test_an_environment_without_pydantic_is_told(serve: Serve, tmp_path: Path) -> None:
    name = f"model-{OLDEST[0]}.{OLDEST[1]}"
    python = str(environment(name, [NUMPY], interpreters()[OLDEST]) / "bin/python")
    write_runtime(tmp_path, "bare", "models.Whose", source=WHOSE, environment=python)
    server = serve(tmp_path, options=("--model-control-mode=explicit",))
    answer = ask(server, "POST", "/v2/repository/models/bare/load")
    assert answer.status == 400
    assert "pydantic is not installed" in answer.error
    assert "'bare'" in answer.error


@pytest.mark.heavy
@pytest.mark.timeout(400)
def test_the_oldest_python_serves(serve: Serve, tmp_path: Path) -> None:
    name = f"names-{OLDEST[0]}.{OLDEST[1]}"
    python = environment(name, [NUMPY, "pydantic>=2,<3", "pandas"], interpreters()[OLDEST]) / "bin/python"
    for kind in ("Decoded", "Frame", "Streams", "Talks"):
        write_runtime(tmp_path, kind.lower(), f"{module_of(kind)}.{kind}", environment=str(python))
    server = serve(tmp_path)
    request = {"inputs": [tensor("a", "FP32", [2], [1, 2]), tensor("s", "BYTES", [2], ["x", "y"])]}
    outputs = infer_json(server, "decoded", request).json["outputs"]
    assert [output["data"] for output in outputs] == [[2.0, 4.0], ["x", "y", "x", "y"]]
    columns = {"inputs": [tensor("n", "FP64", [2, 1], [1.5, None])]}
    assert infer_json(server, "frame", columns).json["outputs"][0]["data"] == [1.5, None]
    body = json.dumps({"inputs": [tensor("n", "INT32", [1], [2])]}).encode()
    assert ask(server, "POST", "/v2/models/streams/infer_stream", body).body.count(b"data: ") == 2
    with grpc.insecure_channel(server.grpc) as channel:
        assert talked(channel) == [[1, 1], [6, 2], [6, 2, -1]]
