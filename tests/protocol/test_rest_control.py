import base64
import json

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.protocol.rest_control import decode_index, decode_load, decode_unload

MIB = 1 << 20


def refused(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(ServerError) as caught:
        call(*arguments)
    assert caught.value.code is ErrorCode.INVALID_ARG
    return caught.value.message


def load(parameters: object) -> bytes:
    return json.dumps({"parameters": parameters}).encode()


@pytest.mark.parametrize(
    ("body", "ready"), [(b"", False), (b"{}", False), (b'{"ready":true}', True), (b'{"ready":false,"x":1}', False)]
)
def test_index(body: bytes, ready: bool) -> None:
    assert decode_index(body) is ready


@pytest.mark.parametrize("ready", ['"yes"', "1", "null", "[]"])
def test_ready_must_be_a_boolean(ready: str) -> None:
    message = refused(decode_index, f'{{"ready":{ready}}}'.encode())
    assert "Invalid value for 'ready': expected a boolean" in message


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"{}{}", b'{"a":' * 100_000, b"\xff"])
@pytest.mark.parametrize("decode", [decode_index, decode_unload, lambda body: decode_load(body, "m", MIB)])
def test_what_is_no_object_is_refused(decode: object, body: bytes) -> None:
    assert "failed to parse the request JSON buffer: " in refused(decode, body)


@pytest.mark.parametrize(
    ("body", "dependents"),
    [
        (b"", False),
        (b'{"parameters":{"unload_dependents":false}}', False),
        (b'{"parameters":{"unload_dependents":true}}', True),
        (b'{"parameters":{}}', False),
    ],
)
def test_unload(body: bytes, dependents: bool) -> None:
    assert decode_unload(body) is dependents


def test_unload_dependents_must_be_a_boolean() -> None:
    message = refused(decode_unload, load({"unload_dependents": "true"}))
    assert "Unable to parse 'unload_dependents': attempt to access JSON non-boolean as boolean" in message


@pytest.mark.parametrize("body", [b"", b"{}", load({})])
def test_a_load_may_have_no_parameters(body: bytes) -> None:
    assert decode_load(body, "m", MIB) == {}


def test_a_load_with_config_and_files() -> None:
    content = bytes(range(256))
    body = load(
        {"config": '{"name":"m"}', "file:1/model.py": base64.b64encode(content).decode(), "file:labels.txt": ""}
    )
    assert decode_load(body, "m", MIB) == {
        "config": '{"name":"m"}',
        "file:1/model.py": content,
        "file:labels.txt": b"",
    }


@pytest.mark.parametrize("parameters", [{"config": {}}, {"config": 1}, {"config": "{}", "file:1/x": None}])
def test_load_parameters_are_strings(parameters: object) -> None:
    assert "attempt to access JSON non-string as string" in refused(decode_load, load(parameters), "m", MIB)


def test_parameters_are_an_object() -> None:
    assert "attempt to get members for non-object" in refused(decode_load, load([]), "m", MIB)


def test_an_unknown_load_parameter_is_named() -> None:
    assert "unrecognized load parameter 'foo' of the load of model 'm'." in refused(
        decode_load, load({"foo": "1"}), "m", 1
    )


def test_files_need_a_config() -> None:
    message = refused(decode_load, load({"file:1/model.py": ""}), "m", MIB)
    assert "failed to load 'm', failed to poll from model repository" in message
    assert "need a 'config' parameter" in message


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "1/../../x", "1//x", "1/./x", "1/x/", "1\\x", "1/\0", "..", "1/.."]
)
def test_a_path_out_of_the_folder_is_refused(path: str) -> None:
    message = refused(decode_load, load({"config": "{}", f"file:{path}": ""}), "m", MIB)
    assert "does not name a file inside the model's folder" in message


@pytest.mark.parametrize("text", ["@@@@", "YQ", "YQ==\n", "YQ==YQ==", "YQ=a", "ä"])
def test_base64_is_strict(text: str) -> None:
    message = refused(decode_load, load({"config": "{}", "file:1/x": text}), "m", MIB)
    assert "'file:1/x' is not valid base64" in message


def test_files_have_a_limit_together() -> None:
    half = base64.b64encode(bytes(500)).decode()
    assert len(decode_load(load({"config": "{}", "file:1/a": half, "file:1/b": half}), "m", 1000)) == 3
    message = refused(decode_load, load({"config": "{}", "file:1/a": half, "file:1/b": half}), "m", 999)
    assert "file content of 'file:1/b' exceeds the maximum allowed data size limit, 999 bytes" in message
