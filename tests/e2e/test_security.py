"""The classes of vulnerabilities that model servers have had, one test or more each, against a real server.

Smuggling has a file of its own (`test_smuggling`), so have limits (`test_limits`); what an archive may do is in
tests/environment/test_extract.py, what the source never does in tests/test_source.py.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conftest import Serve
from tests.support.bad_requests import EVERY_ROW, Bad
from tests.support.clients import ask, infer_json, tensor
from tests.support.decoupled import REPEAT, write_decoupled
from tests.support.raw import Raw
from tests.support.repositories import MODELS, write_model
from tools import proc
from tools.process import ServerProcess

pytestmark = pytest.mark.ours
MEGABYTE = 1 << 20
GOOD = {"inputs": [tensor(name, "FP32", [4], [1, 2, 3, 4]) for name in ("INPUT0", "INPUT1")]}
PATHS = re.compile(
    r"(?:^|[\s'\"(:])(/(?:home|root|tmp|work|usr|etc|proc|dev|var|opt|srv)/?[^\s]*)|0x[0-9a-f]{8,}|memfd"
)
LEAKY = """
class TritonPythonModel:
    def execute(self, requests):
        raise ValueError(f"{self!r} could not open /etc/secrets/key.pem")
"""
BROKEN = "import nowhere_to_be_found\n"
CONFIG = """backend: "python" input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }"""


@pytest.fixture(scope="module")
def target(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("repository")
    write_decoupled(repository, "repeat", REPEAT)
    write_model(repository, "leaky", LEAKY, CONFIG)
    write_model(repository, "broken", BROKEN, CONFIG)
    names = ("add_sub", "batching", "failing", "identity", "repeat", "leaky")
    loads = tuple(f"--load-model={name}" for name in names)
    with make_server(MODELS, repository, options=("--model-control-mode=explicit", *loads)) as running:
        yield running


@pytest.fixture(autouse=True)
def _survives(target: ServerProcess) -> Iterator[None]:
    """Whatever was asked, the next request is answered, and nobody has grown by much."""
    before = proc.rss_bytes(target.pid)
    yield
    answer = infer_json(target, "add_sub", GOOD)
    assert answer.status == 200, answer
    assert proc.rss_bytes(target.pid) < before + 128 * MEGABYTE


def discreet(text: str) -> None:
    assert PATHS.search(text) is None, text


# Names and places that are nobody's business.


@pytest.mark.parametrize("row", EVERY_ROW)
def test_no_error_tells_a_path(target: ServerProcess, row: Bad) -> None:
    if row.row == "deep JSON":
        pytest.skip("see below")
    answer = ask(target, row.method, row.path, row.body, row.headers)
    assert 400 <= answer.status < 600
    discreet(answer.body.decode())
    assert len(answer.body) < 2000


def test_no_failure_tells_a_path(target: ServerProcess) -> None:
    inputs = {"inputs": [tensor("IN", "INT32", [1], [1])]}
    said = [infer_json(target, "leaky", inputs).error]
    for name, parameters in [
        ("nobody", {}), ("broken", {}), ("add_sub", {"config": "{"}), ("add_sub", {"config": '{"backend":"none"}'}),
        ("new", {"config": "{}", "file:1/model.py": base64.b64encode(b"raise ValueError(__file__)").decode()}),
    ]:  # fmt: skip
        body = json.dumps({"parameters": parameters}).encode()
        answer = ask(target, "POST", f"/v2/repository/models/{name}/load", body)
        assert answer.status >= 400, (name, parameters)
        said.append(answer.error)
    said.append(ask(target, "POST", "/v2/repository/index").body.decode())
    with grpc.insecure_channel(target.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for call, request in [
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="broken")),
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="nobody")),
            (stub.ModelInfer, ints("leaky", "IN", 1)),
        ]:
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=20)
            said.append(str(caught.value.details()))
        (streamed,) = stub.ModelStreamInfer(iter([ints("leaky", "IN", 1)]), timeout=20)
        said.append(streamed.error_message)
        said.append(str(stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=20)))
    for text in said:
        discreet(text)
    assert "could not open key.pem" in said[0]


def test_what_is_shared_with_models_has_no_name(target: ServerProcess) -> None:
    """Nothing in /dev/shm, so nothing there to register; all of it is anonymous memory of the processes."""
    family = proc.tree(target.pid)
    for pid in family:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                place = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            assert not place.startswith("/dev/shm"), place


def ints(model: str, name: str, *values: int, shape: list[int] | None = None) -> Any:
    made: Any = pb.ModelInferRequest(model_name=model, raw_input_contents=[np.array(values, np.int32).tobytes()])
    made.inputs.add(name=name, datatype="INT32", shape=[len(values)] if shape is None else shape)
    return made


# Sizes.


@pytest.mark.parametrize(
    "shape", [[1 << 62, 4], [1 << 32, 1 << 32], [(1 << 63) - 1], [0, 1 << 62], [-1], [-(1 << 63)], [1] * 300]
)
def test_shapes_over_grpc(target: ServerProcess, shape: list[int]) -> None:
    with grpc.insecure_channel(target.grpc) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        with pytest.raises(grpc.RpcError) as caught:
            call(ints("repeat" if len(shape) > 9 else "identity", "INT32", 1, shape=shape), timeout=20)
        assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)


@pytest.mark.parametrize("shape", [[1 << 62, 4], [1 << 32, 1 << 32], [(1 << 63) - 1], [1 << 70], [10**12]])
@pytest.mark.parametrize("data", [[1], {"binary_data_size": 4}], ids=["json", "binary"])
def test_shapes_over_rest(target: ServerProcess, shape: list[int], data: Any) -> None:
    more = {"data": data} if isinstance(data, list) else {"parameters": data}
    answer = infer_json(
        target, "identity", {"inputs": [{"name": "INT32", "datatype": "INT32", "shape": shape, **more}]}
    )
    assert answer.status == 400


DEEP = 1_000_000
JSON_ROUTES = [
    "/v2/models/add_sub/infer", "/v2/models/add_sub/generate", "/v2/repository/index",
    "/v2/repository/models/add_sub/load", "/v2/repository/models/add_sub/unload",
]  # fmt: skip


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("opening", ["[", '{"a":', '{"parameters":', '{"inputs":[{"data":['])
def test_nesting(target: ServerProcess, path: str, opening: str) -> None:
    for closing in ("", "}" if opening[0] == "{" else "]"):
        answer = ask(target, "POST", path, ((opening * DEEP) + (closing * DEEP)).encode()[: 8 * MEGABYTE])
        assert answer.status == 400, answer.body[:200]


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_many_small_values(target: ServerProcess, path: str) -> None:
    """16 MB of empty lists would be 400 MB of objects."""
    answer = ask(target, "POST", path, b'{"parameters":[' + b"[]," * (5 * MEGABYTE) + b"1]}")
    assert answer.status == 400
    assert len(answer.body) < 1000


@pytest.mark.parametrize("path", JSON_ROUTES[:2])
def test_a_bomb(target: ServerProcess, path: str) -> None:
    """1 GiB of spaces in 1 MB of gzip stops at the limit."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = stream.compress(b'{"inputs":[') + stream.flush(zlib.Z_FULL_FLUSH)
    packed += (stream.compress(b" " * MEGABYTE) + stream.flush(zlib.Z_FULL_FLUSH)) * 1024
    answer = ask(target, "POST", path, packed, {"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert "--http-max-input-size" in answer.error


def test_a_million_chunks(target: ServerProcess) -> None:
    with Raw(target) as raw:
        raw.send(b"POST /v2/models/add_sub/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            raw.send(b"1\r\na\r\n" * 10_000)
        status, body = raw.answer()
    assert status == 400
    assert b"--http-max-chunks" in body


def test_floods_of_headers(target: ServerProcess) -> None:
    for lines in ("X: a\r\n" * 100_000, "".join(f"X{n}: a\r\n" for n in range(129)), f"X: {'a' * (1 << 20)}\r\n"):
        with Raw(target) as raw:
            raw.send(f"GET /v2 HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
            assert raw.answer()[0] == 400


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_multipart_means_nothing(target: ServerProcess, path: str) -> None:
    boundary = "-" * 60_000
    body = f"--{boundary}\r\nContent-Disposition: form-data; name=inputs\r\n\r\n[]\r\n--{boundary}--".encode()
    answer = ask(target, "POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary[:4000]}"})
    assert answer.status == 400


# Streams that end early.


def test_streams_cancelled_at_any_moment(target: ServerProcess) -> None:
    with grpc.insecure_channel(target.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for number in range(60):
            values = tuple(range(2 + number % 7))
            call = stub.ModelStreamInfer(iter([ints("repeat", "IN", *values)] * 3), timeout=20)
            for _ in range(number % 5):
                next(call)
            call.cancel()
        answers = list(stub.ModelStreamInfer(iter([ints("repeat", "IN", 7)]), timeout=20))
    assert np.frombuffer(answers[0].infer_response.raw_output_contents[0], np.int32).tolist() == [7]


# Names that are more than names.

HOSTILE = [
    "../add_sub", "..", ".", "a/../../etc", "/etc/passwd", "add_sub/1", "$(touch {mark})", "`touch {mark}`",
    "; touch {mark};", "a\nb", "a\0b", "-c touch", "~", "*", "http://169.254.169.254/latest", "file:///etc/passwd",
    "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:20].replace("\0", "NUL").replace("\n", "LF"))
def test_names_of_models(target: ServerProcess, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    name = name.replace("{mark}", str(mark))
    code = base64.b64encode(b"import os\nos._exit(3)\n").decode()
    text = json.dumps({"parameters": {"config": '{"backend":"python"}', "file:1/model.py": code}}).encode()
    quoted = "".join(f"%{byte:02x}" if byte < 33 or byte > 126 else chr(byte) for byte in name.encode())
    answer = ask(target, "POST", f"/v2/repository/models/{quoted}/load", text)
    assert answer.status >= 400
    with grpc.insecure_channel(target.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request: Any = pb.RepositoryModelLoadRequest(model_name=name)
        request.parameters["config"].string_param = '{"backend":"python"}'
        request.parameters["file:1/model.py"].bytes_param = b"import os\nos._exit(3)\n"
        for call, message in (
            (stub.RepositoryModelLoad, request),
            (stub.ModelInfer, pb.ModelInferRequest(model_name=name)),
            (stub.ModelMetadata, pb.ModelMetadataRequest(name=name)),
            (stub.ModelConfig, pb.ModelConfigRequest(name=name, version="../1")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(message, timeout=20)
            assert len(str(caught.value.details())) <= 8192
    assert not mark.exists()


@pytest.mark.parametrize(
    "key",
    ["file:../x", "file:../../../../{folder}/x", "file:{folder}/x", "file:1/../../x", "file:", "file:1//x", "file:1\\x",
     "file:a\0b", "file:./x", "file:1/", "url:http://169.254.169.254/", "http://169.254.169.254/"],
)  # fmt: skip
def test_files_that_a_load_may_not_bring(target: ServerProcess, tmp_path: Path, key: str) -> None:
    key = key.replace("{folder}", str(tmp_path))
    content = base64.b64encode(b"x").decode()
    body = json.dumps({"parameters": {"config": '{"backend":"python"}', key: content}}).encode()
    assert ask(target, "POST", "/v2/repository/models/fresh/load", body).status == 400
    assert not list(tmp_path.iterdir())


def test_base64_is_strict(target: ServerProcess) -> None:
    for content in ("QUJ", "QUJD=", "Q U J D", "QUJD\n", "-_-_", "{}"):
        body = json.dumps({"parameters": {"config": "{}", "file:1/model.py": content}}).encode()
        assert ask(target, "POST", "/v2/repository/models/fresh/load", body).status == 400


# Pickles.


@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", "application/octet-stream", "application/x-pickle"])
def test_pickles_are_no_requests(target: ServerProcess, tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    bomb = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    for path in JSON_ROUTES:
        assert ask(target, "POST", path, bomb, {"Content-Type": kind}).status == 400
    assert not mark.exists()


# Log lines.


def test_log_lines_are_not_forged(target: ServerProcess) -> None:
    forged = f"FORGED-{uuid.uuid4()}"
    evil = f"x\r\nE1121 00:00:00.000000 1 server.py:1] {forged}\x1b[31m\0\u2028{forged}"
    request = {"id": evil, "inputs": [tensor("HOW", "BYTES", [1], ["raise"])], "parameters": {"mine": evil}}
    infer_json(target, "failing", request)
    ask(target, "GET", "/v2/models/" + "".join(f"%{byte:02x}" for byte in evil.encode()))
    with grpc.insecure_channel(target.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for call, message in (
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=evil)),
            (stub.ModelInfer, pb.ModelInferRequest(model_name=evil, id=evil)),
        ):
            with pytest.raises(grpc.RpcError):
                call(message, timeout=20)
    for line in list(target.lines):
        assert "\x1b" not in line
        assert "\0" not in line
        assert not line.startswith("E1121 00:00:00.000000"), line


def test_nobody_but_this_host_is_served_unless_told(make_server: Serve) -> None:
    server = make_server(MODELS, options=("--model-control-mode=explicit",))
    at = [index for index, word in enumerate(server.command) if word.endswith("-address")]
    for index in reversed(at):
        del server.command[index : index + 2]
    with server as running:
        for service in ("HTTPService", "GRPCInferenceService", "Metrics Service"):
            assert f"Started {service} at 127.0.0.1:" in running.wait_log(f"Started {service} at ")
        # Loading is an operator's business, and off, unless asked for; so is memory that clients share.
        listening = [line for line in running.lines if "0.0.0.0" in line and "Started" in line]
        assert not listening
