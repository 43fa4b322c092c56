"""The bodies of repository control, index, load and unload, and of the settings that can be changed."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pyserver.errors import invalid
from pyserver.protocol import rest_json
from pyserver.protocol import rest_values as json_as

FILE_PREFIX = "file:"


def decode_index(body: bytes | bytearray, max_depth: int = rest_json.MAX_DEPTH) -> bool:
    """Whether an index request wants the ready models alone. The body is empty, or an object with `ready`."""
    ready = _document(body, max_depth).get("ready", False)
    if not isinstance(ready, bool):
        raise invalid(f"Invalid value for 'ready': expected a boolean, got {json_as.kind(ready)}")
    return ready


def decode_settings(body: bytes | bytearray, max_depth: int = rest_json.MAX_DEPTH) -> dict[str, Any]:
    """The settings that a trace or logging request changes: an object, or nothing."""
    return _document(body, max_depth)


def decode_unload(body: bytes | bytearray, max_depth: int = rest_json.MAX_DEPTH) -> bool:
    """Whether the models that only the unloaded one needs are to go as well: parameter `unload_dependents`."""
    value = _parameters(body, max_depth).get("unload_dependents", False)
    return json_as.boolean(value, "unload_dependents", " of an unload request")


def decode_load(
    body: bytes | bytearray, name: str, max_size: int, max_depth: int = rest_json.MAX_DEPTH
) -> dict[str, str | bytes]:
    """The parameters of a load of model `name`: `config` as the text it is, each `file:<path>` as its content.

    ServerError (400) for another key, what is no string, base64 that isn't strict, a path that leaves the model's
    folder, files without a config, or files of more than `max_size` bytes together.
    """
    parameters: dict[str, str | bytes] = {}
    left = max_size
    for key, value in _parameters(body, max_depth).items():
        text = json_as.string(value, json_as.shortened(key), f" of the load of model '{name}'")
        if key == "config":
            parameters[key] = text
        elif key.startswith(FILE_PREFIX):
            _check_path(key, name)
            parameters[key] = content = _decode_file(key, text, name, left, max_size)
            left -= len(content)
        else:
            raise invalid(f"unrecognized load parameter '{json_as.shortened(key)}' of the load of model '{name}'.")
    if parameters and "config" not in parameters:
        raise invalid(
            f"failed to load '{name}', failed to poll from model repository: "
            "'file:' parameters need a 'config' parameter beside them"
        )
    return parameters


def _document(body: bytes | bytearray, max_depth: int) -> dict[str, Any]:
    if not body:
        return {}
    document = rest_json.plain(body, max_depth)
    if not isinstance(document, dict):
        raise invalid(f"failed to parse the request JSON buffer: expected an object, got {json_as.kind(document)}")
    return document


def _parameters(body: bytes | bytearray, max_depth: int) -> dict[str, Any]:
    return json_as.mapping(_document(body, max_depth).get("parameters", {}), "parameters", "")


def _check_path(key: str, name: str) -> None:
    """A file's path is relative, plain, and stays inside the model's folder."""
    path = key.removeprefix(FILE_PREFIX)
    if "\0" in path or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise invalid(
            f"failed to load '{name}': '{json_as.shortened(key)}' does not name a file inside the model's folder, "
            "expected 'file:<version>/<path>'"
        )


def _decode_file(key: str, text: str, name: str, left: int, most: int) -> bytes:
    # Base64 grows what it holds by a third: refuse before there is a second copy of it.
    if len(text) * 3 // 4 - text[-2:].count("=") > left:
        raise invalid(
            f"failed to load '{name}': file content of '{json_as.shortened(key)}' exceeds the maximum allowed data "
            f"size limit, {most} bytes for all files together. Use --max-load-size to increase the limit."
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"failed to load '{name}': '{json_as.shortened(key)}' is not valid base64: {error}") from None
