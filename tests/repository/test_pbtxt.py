from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.repository import pbtxt


def refused(text: str) -> str:
    with pytest.raises(ServerError) as caught:
        pbtxt.parse(text, "m/config.pbtxt")
    assert caught.value.code is ErrorCode.INVALID_ARG
    return caught.value.message


def test_a_configuration_is_read() -> None:
    config = pbtxt.parse('name: "m" # first\nmax_batch_size: 8\ninput [{name: "x" dims: [-1, 4]}]\n', "p")
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("m", 8, [-1, 4])
    assert pbtxt.parse("", "p").name == ""


@pytest.mark.parametrize(
    ("text", "position", "what", "line"),
    [
        ("max_batchsize: 4", "1:1", "'ModelConfig' has no field 'max_batchsize', did you mean 'max_batch_size'?", ""),
        ('name: "m"\ninput [\n  {nmae: "x"}\n]', "3:4", "no field 'nmae', did you mean 'name'?", '{nmae: "x"}'),
        ("input {\n data_type: TYPE_FLOAT32 }", "2:13", "'DataType' has no value 'TYPE_FLOAT32'", "TYPE_FLOAT32"),
        ("input { data_type: type_fp32 }", "1:20", "did you mean 'TYPE_FP32'?", ""),
        ("instance_group {kind: KIND_CUP}", "1:23", "did you mean 'KIND_CPU'?", ""),
        ("qqqqqq: 1", "1:1", "'ModelConfig' has no field 'qqqqqq'\n", ""),
        ("input [", "1:8", 'Expected "{"', ""),
        ("input [\n", "2:1", "(at the end of the file)", ""),
        ("max_batch_size: 99999999999", "1:17", "Value out of range: 99999999999", ""),
        ('max_batch_size: "8"', "1:17", "Couldn't parse integer", ""),
        ("name: 3", "1:7", "Expected string but found", ""),
        ('name: "a"\nname: "b"', "2:7", 'should not have multiple "name" fields', ""),
        ("dynamic_batching {}\nsequence_batching {}", "2:1", 'specified along with field "dynamic_batching"', ""),
        ('name: "open', "1:7", "String missing ending quote", ""),
        ("input { dims: [1.5] }", "1:16", "Couldn't parse integer: 1.5", ""),
        ("[a.b] {}", "1:4", "does not have extensions", ""),
    ],
)
def test_an_error_says_where_and_what(text: str, position: str, what: str, line: str) -> None:
    message = refused(text)
    assert message.startswith(f"failed to read text proto from m/config.pbtxt:{position}: ")
    assert what in message
    assert line in message


def test_any_cut_of_a_configuration_is_read_or_refused() -> None:
    text = 'name: "m" input [{name: "x" data_type: TYPE_FP32 dims: [-1, 4]}] parameters { key: "k" value {} }'
    assert pbtxt.parse(text, "p").parameters["k"].string_value == ""
    messages = []
    for end in range(len(text)):
        with contextlib.suppress(ServerError):
            pbtxt.parse(text[:end], "p")
            continue
        messages.append(refused(text[:end]))
    assert len(messages) > 80
    assert all(re.match(r"failed to read text proto from m/config.pbtxt:1:\d+: ", message) for message in messages)


def test_a_long_line_is_cut() -> None:
    assert len(refused("x" * 5000 + ": 1").splitlines()[-1]) < 110


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="No such file"):
        pbtxt.read(tmp_path / "config.pbtxt")
    with pytest.raises(ServerError, match="directory"):
        pbtxt.read(tmp_path)
    path = tmp_path / "config.pbtxt"
    path.write_bytes(b'name: "m"\nbackend: "\xff"')
    with pytest.raises(ServerError, match=r"config.pbtxt:2: byte 20 is not UTF-8"):
        pbtxt.read(path)
