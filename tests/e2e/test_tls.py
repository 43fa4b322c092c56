"""TLS and mutual TLS on both transports: who may connect, what passes, and what the server says of bad files."""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from pyserver.cli.infer import command
from tests.conftest import Serve
from tests.support.certificates import Certificates
from tests.support.clients import tensor
from tests.support.repositories import MODELS
from tools.process import ServerProcess

pytestmark = pytest.mark.ours
LARGE = 8 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["server", "mutual"])
def secure(request: pytest.FixtureRequest, make_server: Serve, files: Certificates) -> Iterator[tuple[Any, bool]]:
    mutual = request.param == "mutual"
    asked = (*files.options("http", mutual), *files.options("grpc", mutual))
    server = make_server(MODELS, options=("--model-control-mode=explicit", "--load-model=identity", *asked))
    server.launch()
    server.wait_listening()
    server.wait_log("ready: ")
    yield server, mutual
    server.stop()


def trust(files: Certificates, client: tuple[Path, Path] | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(files.root))
    if client is not None:
        made.load_cert_chain(*map(str, client))
    return made


def https(server: ServerProcess, trusted: ssl.SSLContext) -> http.client.HTTPSConnection:
    host, _, port = server.http.rpartition(":")
    return http.client.HTTPSConnection(host, int(port), timeout=20, context=trusted)


def asked(connection: http.client.HTTPSConnection, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, names)
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def body_of(data: bytes) -> tuple[bytes, str]:
    head = (
        b'{"inputs":[{"name":"UINT8","datatype":"UINT8","shape":[1,%d],"parameters":{"binary_data_size":%d}}],'
        b'"parameters":{"binary_data_output":true}}' % (len(data), len(data))
    )
    return head + data, str(len(head))


@pytest.fixture
def trusted(secure: tuple[Any, bool], files: Certificates) -> ssl.SSLContext:
    return trust(files, files.client if secure[1] else None)


def test_what_it_says_at_start(secure: tuple[Any, bool], files: Certificates) -> None:
    """The address with its protocol, and a command that works: with a certificate of one's own where one is needed."""
    server, mutual = secure
    command = server.wait_log("try: curl").partition("try: ")[2]
    assert " https://" in command
    if mutual:
        cert, key = map(str, files.client)
        command = command.replace("CLIENT.pem", cert).replace("CLIENT-KEY.pem", key)
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    done = subprocess.run([*shlex.split(command), "-s", "-f"], capture_output=True, timeout=20)
    assert done.returncode == 0, (command, done)
    assert json.loads(done.stdout)["name"] == "identity"


def test_rest(secure: tuple[Any, bool], trusted: ssl.SSLContext) -> None:
    connection = https(secure[0], trusted)
    for size in (4, 100_000, LARGE):
        data = np.random.default_rng(size).bytes(size)
        body, length = body_of(data)
        path = "/v2/models/identity/infer"
        status, answer, headers = asked(connection, "POST", path, body, Inference_Header_Content_Length=length)
        assert status == 200, answer[:300]
        assert answer[int(headers["Inference-Header-Content-Length"]) :] == data
    for path in ("/v2", "/v2/health/ready", "/v2/models/identity/config"):
        assert asked(connection, "GET", path)[0] == 200
    connection.close()


def test_rest_ends_what_it_refuses(secure: tuple[Any, bool], trusted: ssl.SSLContext) -> None:
    """The answer to a refused request arrives, while the client is still sending, and the connection ends."""
    connection = https(secure[0], trusted)
    connection.connect()
    connection.sock.sendall(
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + bytes(200_000)
    )
    answer = connection.sock.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n")
    connection.sock.settimeout(10)
    assert connection.sock.recv(1000) == b""
    connection.close()


def test_the_last_answer_closes(secure: tuple[Any, bool], trusted: ssl.SSLContext) -> None:
    connection = https(secure[0], trusted)
    connection.connect()
    connection.sock.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := connection.sock.recv(10_000):
        answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK")
    connection.close()


def test_grpc(secure: tuple[Any, bool], files: Certificates) -> None:
    cert, key = files.client
    mutual = {"private_key": str(key), "certificate_chain": str(cert)} if secure[1] else {}
    client = triton_grpc.InferenceServerClient(secure[0].grpc, ssl=True, root_certificates=str(files.root), **mutual)
    for size in (4, LARGE):
        array = np.random.default_rng(size).integers(0, 255, (1, size), np.uint8)
        given = triton_grpc.InferInput("UINT8", array.shape, "UINT8")
        given.set_data_from_numpy(array)
        assert np.array_equal(client.infer("identity", [given]).as_numpy("UINT8_OUT"), array)
    client.close()


def test_without_tls_nobody_is_served(secure: tuple[Any, bool]) -> None:
    host, _, port = secure[0].http.rpartition(":")
    plain = http.client.HTTPConnection(host, int(port), timeout=10)
    plain.request("GET", "/v2")
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.getresponse()
    plain.close()
    with grpc.insecure_channel(secure[0].grpc) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive", None, None)(b"", timeout=5)


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
def test_mutual_means_mutual(secure: tuple[Any, bool], files: Certificates, whose: str) -> None:
    server, mutual = secure
    cert = files.stranger if whose == "stranger" else None
    connection = https(server, trust(files, cert))
    channel = grpc.secure_channel(
        server.grpc,
        grpc.ssl_channel_credentials(
            files.root.read_bytes(), *((cert[1].read_bytes(), cert[0].read_bytes()) if cert else ())
        ),
    )
    live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive", None, None)
    if mutual:
        with pytest.raises((ssl.SSLError, OSError)):
            asked(connection, "GET", "/v2")
        with pytest.raises(grpc.RpcError):
            live(b"", timeout=5)
    else:
        assert asked(connection, "GET", "/v2")[0] == 200
        assert live(b"", timeout=5)
    connection.close()
    channel.close()


@pytest.mark.parametrize("prefix", ["http", "grpc"])
def test_bad_files_are_named_at_start(make_server: Serve, files: Certificates, prefix: str) -> None:
    other = files.client[1]
    options = (*files.options(prefix), f"--{prefix}-server-key={other}", "--model-control-mode=explicit")
    server = make_server(MODELS, options=options)
    server.launch()
    assert server.exited(30)
    assert server.process is not None
    assert server.process.returncode == 1
    line = server.wait_log("failed to start ")
    assert f"'{other}' is not that of the certificate '{files.cert}'" in line


def test_infer_without_a_look_at_the_certificate(secure: tuple[Any, bool], tmp_path: Path) -> None:
    server, mutual = secure
    if mutual:
        pytest.skip("pyserver infer has no certificate of its own to show")
    given, made = tmp_path / "in", tmp_path / "out"
    document = {"inputs": [tensor("INT32", "INT32", [1, 2], [1, 2])], "outputs": [{"name": "INT32_OUT"}]}
    given.write_text(json.dumps(document))
    for transport, url in (("grpc", server.grpc), ("rest", server.http)):
        arguments = [
            "-u",
            url,
            "-m",
            "identity",
            "-i",
            str(given),
            "-o",
            str(made),
            "-t",
            transport,
            "--use-ssl",
            "-r",
            "0",
        ]
        assert command.main(arguments) != 0, "the certificate is of an authority that nobody knows"
        assert command.main([*arguments, "--insecure"]) == 0, made.read_text()
        assert json.loads(made.read_text())["outputs"][0]["data"] == [1, 2]
