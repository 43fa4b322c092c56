"""Good inputs for each reader, and words of its language: what the fuzzer begins from."""

from __future__ import annotations

import json
import zlib
from typing import Any

from pyserver.ipc import messages as m
from pyserver.proto import inference as pb

_INFER = (
    b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: 92\r\n"
    b"Content-Length: 96\r\n\r\n"
    b'{"inputs":[{"name":"A","datatype":"UINT8","shape":[4],"parameters":{"binary_data_size":4}}]}abcd'
)
_DOCUMENT = {
    "id": "1", "parameters": {"a": 1, "b": True, "c": "x", "sequence_id": 3},
    "inputs": [{"name": "A", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2.5], [-3e-2, 4]]},
               {"name": "B", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}],
    "outputs": [{"name": "O", "parameters": {"binary_data": True}}],
}  # fmt: skip
_JSON = json.dumps(_DOCUMENT).encode()
_LAYOUT = m.pack_layout(m.Layout((("A", "FP32", (1, 16)),), ("OUT",)))
_REQUEST: Any = pb.ModelInferRequest(model_name="m", model_version="1", id="x", raw_input_contents=[bytes(8)])
_REQUEST.inputs.add(name="A", datatype="FP32", shape=[1, 2])
_REQUEST.outputs.add(name="O").parameters["binary_data"].bool_param = True
_REQUEST.parameters["priority"].int64_param = 3
_TYPED: Any = pb.ModelInferRequest(model_name="m")
_TYPED.inputs.add(name="A", datatype="INT32", shape=[3]).contents.int_contents.extend([1, -2, 3])
_TYPED.inputs.add(name="B", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"xyz")
_HTTP_WORDS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"Host: a",
    b" HTTP/1.1", b" HTTP/1.0", b"GET /hello", b"Connection: close", b"Expect: 100-continue", b"0\r\n\r\n",
    b"Content-Encoding: gzip",
    b"Inference-Header-Content-Length: ", b"\0", b"\t", b"+", b"0x", b";", b"Upgrade: h2c", b"http://a",
]  # fmt: skip
_JSON_WORDS = [
    b'"inputs"', b'"data":', b'"datatype":', b'"shape":', b'"parameters":', b'"binary_data_size":', b"\\u0000",
    b"\\ud800", b"1e999", b"-0", b"18446744073709551616", b"[[", b"]]", b"null", b"true", b"{}", b'"FP16"', b'"BYTES"',
    b"NaN",
]  # fmt: skip

SEEDS: dict[str, list[bytes]] = {
    "connection": [
        b"\1" + _INFER,
        b"\7" + _INFER * 2,
        b"\x20GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" + _INFER,
        b"\5POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + _INFER,
    ],
    "head": [_INFER, b"GET http://a/b?c HTTP/1.0\r\nConnection: keep-alive\r\nX: y\r\n\r\n"],
    "chunks": [b"\2" + b"3;name=value\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"],
    "json": [_JSON, b'{"n":[null,false,-1.5e3,"\\ud83d\\ude00\\n"]}'],
    "json data": [b"[1,2,3]", b'["a","\\u00e9"]', b"[[1.5e3],[-0.25]]", b"[true,false]"],
    "rest": [len(_JSON).to_bytes(2, "little") + _JSON + b"\1\0\0\0a"],
    "control": [
        b'{"ready":true}',
        b'{"parameters":{"unload_dependents":true}}',
        b'{"x":[1,2],"t":"a","id":"3"}',
        b'{"parameters":{"config":"{}","file:1/model.py":"QUJD"}}',
    ],
    "compressed": [zlib.compress(bytes(100)), zlib.compress(_JSON, wbits=31), b"gzip;q=0.5, *"],
    "wire": [_REQUEST.SerializeToString(), _TYPED.SerializeToString()],
    "wire messages": [
        pb.ModelConfigRequest(name="m", version="1").SerializeToString(),
        pb.RepositoryModelLoadRequest(model_name="m").SerializeToString(),
    ],
    "records": [
        m.pack_response(8, m.OK, m.FINAL, _LAYOUT, (64, 64)) + m.pack_executed(7, 1, 2, 3, 4),
        m.pack_response(8, 3, m.FINAL, b"", (), b'{"message":"no"}'),
        m.pack_json(m.HELLO, {"version": 1}),
    ],
    "messages": [
        m.pack_execute(7, [(8, 9, _LAYOUT, (64, 64), b'{"id":"x"}')]),
        m.pack_free((64,)),
        _LAYOUT,
        m.pack_json(m.CONTROL, {"key": 1}),
    ],
}

WORDS: dict[str, list[bytes]] = {
    "connection": _HTTP_WORDS,
    "head": _HTTP_WORDS,
    "chunks": _HTTP_WORDS,
    "json": _JSON_WORDS,
    "json data": _JSON_WORDS,
    "rest": _JSON_WORDS,
    "control": [*_JSON_WORDS, b'"file:', b"../", b"config"],
}
