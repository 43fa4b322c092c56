"""The names of MLServer, as a model folder uses them: codecs by the fixtures seen with 1.7.1, types, settings."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

NAMES = str(Path(__file__).parents[2] / "pyserver" / "stub" / "names")


@pytest.fixture(scope="module", autouse=True)
def names() -> Iterator[None]:
    sys.path.insert(0, NAMES)
    yield
    sys.path.remove(NAMES)
    for module in [name for name in sys.modules if name.partition(".")[0] == "mlserver"]:
        del sys.modules[module]


def encoded(codec: str, method: str, *arguments: Any, **named: Any) -> Any:
    from mlserver import codecs

    made = getattr(getattr(codecs, codec), method)(*arguments, **named)
    return made.model_dump()


@pytest.mark.parametrize(
    ("array", "shape", "datatype", "data"),
    [
        (np.array([1, 2]), [2, 1], "INT64", [1, 2]),
        (np.array(3.5), [1], "FP64", [3.5]),
        (np.array(["a", "bc"]), [2, 1], "BYTES", ["a", "bc"]),
        (np.array([b"ab", b"c"]), [2, 1], "BYTES", [b"ab", b"c"]),
        (np.array(["a", None], object), [2, 1], "BYTES", ["a", None]),
        (np.array([[1.5, np.nan]], np.float32), [1, 2], "FP32", [1.5, None]),
        (np.array([[True], [False]]), [2, 1], "BOOL", [True, False]),
        (np.array([[[1, 2]]], np.int8)[:, :, ::-1], [1, 1, 2], "INT8", [2, 1]),
    ],
)
@pytest.mark.parametrize("method", ["encode_input", "encode_output"])
def test_numpy_encodes(method: str, array: Any, shape: list[int], datatype: str, data: list[Any]) -> None:
    made = encoded("NumpyCodec", method, "f", array)
    assert made == {
        "name": "f", "shape": shape, "datatype": datatype, "parameters": {"content_type": "np"}, "data": data,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]"])
def test_numpy_refuses_what_the_protocol_lacks(dtype: str) -> None:
    from mlserver.codecs import CodecError, NumpyCodec

    with pytest.raises(CodecError, match="no datatype of the protocol"):
        NumpyCodec.encode_output("f", np.zeros(1, dtype))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "UINT64", "BOOL"])
def test_numpy_decodes_by_datatype_and_shape(datatype: str) -> None:
    from mlserver.codecs import NumpyCodec
    from mlserver.types import RequestInput

    found = NumpyCodec.decode_input(RequestInput(name="x", shape=[2, 1], datatype=datatype, data=[[1], [0]]))
    assert found.tolist() == [[1], [0]]
    assert found.dtype == NumpyCodec.decode_input(NumpyCodec.encode_input("x", found)).dtype


def test_strings() -> None:
    assert encoded("StringCodec", "encode_input", "docs", ["a"], use_bytes=False) == {
        "name": "docs", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "str"}, "data": ["a"],
    }  # fmt: skip
    assert encoded("StringCodec", "encode_output", "docs", ["a"])["data"] == [b"a"]
    from mlserver.codecs import StringCodec
    from mlserver.types import RequestInput

    def decoded(data: Any) -> Any:
        return StringCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=data))

    assert decoded([1, None, "x", b"y"]) == ["", None, "x", "y"]
    assert decoded("bare") == ["bare"]
    with pytest.raises(UnicodeDecodeError):
        decoded([b"\xff"])


def test_base64() -> None:
    from mlserver.codecs import Base64Codec
    from mlserver.types import RequestInput

    made = encoded("Base64Codec", "encode_input", "x", [b"Python is fun"], use_bytes=False)
    assert made["data"] == ["UHl0aG9uIGlzIGZ1bg=="]
    for data, wanted in ((["UHl0aG9uIGlzIGZ1bg=="], b"Python is fun"), (["not b64!"], b"not b64!")):
        assert Base64Codec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=data)) == [wanted]


def test_times() -> None:
    from mlserver.codecs import CodecError, DatetimeCodec
    from mlserver.types import RequestInput

    when = datetime.datetime(2022, 1, 11, 11, 0, 0)
    assert encoded("DatetimeCodec", "encode_input", "x", [when], use_bytes=False)["data"] == ["2022-01-11T11:00:00"]
    assert DatetimeCodec.decode_input(DatetimeCodec.encode_input("x", [when])) == [when]
    with pytest.raises(CodecError):
        DatetimeCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=["no time"]))


def test_frames() -> None:
    frame = pd.DataFrame(
        {
            "f": [1.5, np.nan],
            "b": [True, False],
            "s": ["x", None],
            "o": [{"k": 1}, [1]],
            "d": pd.to_datetime(["2022-01-11T11:00:00", None]),
            "n": pd.array([1, None], dtype="Int64"),
            "w": pd.array([1, 2], dtype="Int32"),
            "c": pd.Categorical(["u", "v"]),
            "i": pd.Categorical([3, 4]),
        }
    )
    made = encoded("PandasCodec", "encode_request", frame)
    assert made["parameters"] == {"content_type": "pd"}
    columns = {column["name"]: column for column in made["inputs"]}
    assert all(column["shape"] == [2, 1] for column in columns.values())
    assert (columns["f"]["datatype"], columns["f"]["data"]) == ("FP64", [1.5, None])
    assert "parameters" not in columns["f"]
    assert (columns["b"]["datatype"], columns["b"]["data"]) == ("BOOL", [True, False])
    assert (columns["s"]["parameters"]["content_type"], columns["s"]["data"]) == ("str", [b"x", None])
    assert (columns["o"]["parameters"]["content_type"], columns["o"]["data"]) == ("pd_json", [b'{"k":1}', b"[1]"])
    assert (columns["d"]["parameters"]["content_type"], columns["d"]["data"]) == (
        "datetime",
        [b"2022-01-11T11:00:00", None],
    )
    assert (columns["n"]["datatype"], columns["n"]["data"]) == ("FP64", [1.0, None])
    assert (columns["w"]["datatype"], columns["w"]["data"]) == ("INT32", [1, 2])
    assert columns["c"]["data"] == [b"u", b"v"]
    assert columns["i"]["data"] == [3, 4]
    assert encoded("PandasCodec", "encode_request", frame[["s"]], use_bytes=False)["inputs"][0]["data"] == ["x", None]


def test_frames_come_back() -> None:
    from mlserver.codecs import PandasCodec, decode_inference_request
    from mlserver.types import InferenceRequest

    frame = pd.DataFrame({"f": [1.5, 2.5], "s": ["x", "y"], "d": pd.to_datetime(["2022-01-11", "2022-01-12"])})
    request = InferenceRequest.model_validate_json(PandasCodec.encode_request(frame, use_bytes=False).model_dump_json())
    back = decode_inference_request(request)
    assert back["f"].tolist() == [1.5, 2.5]
    assert back["s"].tolist() == ["x", "y"]
    assert back["d"].tolist() == frame["d"].tolist()
    undecoded = InferenceRequest(inputs=[{"name": "b", "shape": [1, 1], "datatype": "BYTES", "data": [b"x"]}])
    assert PandasCodec.decode_request(undecoded)["b"].tolist() == [b"x"]


def test_a_request_codec_takes_one_input() -> None:
    from mlserver.codecs import CodecError, NumpyRequestCodec
    from mlserver.types import InferenceRequest

    one = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    assert NumpyRequestCodec.decode_request(InferenceRequest(inputs=[one])).tolist() == [1]
    with pytest.raises(CodecError, match=r"only supports a single input tensor \(2 were received\)"):
        NumpyRequestCodec.decode_request(InferenceRequest(inputs=[one, one]))
    assert encoded("NumpyRequestCodec", "encode_response", "m", np.ones(1))["outputs"][0]["name"] == "output-1"


def test_a_codec_of_ones_own() -> None:
    from mlserver.codecs import InputCodec, decode_args, register_input_codec
    from mlserver.types import InferenceRequest, RequestInput, ResponseOutput

    class Image:
        def __init__(self, pixels: bytes) -> None:
            self.pixels = pixels

    @register_input_codec
    class ImageCodec(InputCodec):
        ContentType = "img"
        TypeHint = Image

        @classmethod
        def can_encode(cls, payload: Any) -> bool:
            return isinstance(payload, Image)

        @classmethod
        def decode_input(cls, request_input: RequestInput) -> Image:
            return Image(bytes(request_input.data[0]))

        @classmethod
        def encode_output(cls, name: str, payload: Image, **kwargs: Any) -> ResponseOutput:
            return ResponseOutput(name=name, shape=[1], datatype="BYTES", data=[payload.pixels])

    def predict(self: Any, image: Any) -> Any:
        return Image(image.pixels[::-1])

    predict.__annotations__ = {"image": Image, "return": Image}

    class Model:
        name = "m"
        version = None

    request = InferenceRequest(inputs=[{"name": "image", "shape": [1], "datatype": "BYTES", "data": [b"abc"]}])
    response = decode_args(predict)(Model(), request)
    assert response.outputs[0].data.root == [b"cba"]
    assert response.outputs[0].name == "output-0"


def test_types_leave_out_what_is_not_set() -> None:
    from mlserver import types

    assert types.InferenceResponse(model_name="m", outputs=[]).model_dump_json() == '{"model_name":"m","outputs":[]}'
    request = types.InferenceRequest.parse_raw(
        '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"content_type":"np","a":{"b":1}}}]}'
    )
    assert request.inputs[0].data.__root__ == [1]
    assert list(request.inputs[0].data) == [1]
    assert request.inputs[0].datatype == "FP32"
    assert request.inputs[0].parameters.a == {"b": 1}
    assert request.dict(exclude={"inputs": {"__all__": {"parameters"}}}) == {
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]
    }
    assert json.loads(request.json()) == request.dict()
    assert types.Parameters(content_type="np", foo=1).model_extra == {"foo": 1}


def test_settings(tmp_path: Path) -> None:
    from mlserver import ModelSettings

    path = tmp_path / "model-settings.json"
    path.write_text(json.dumps({"name": "m", "implementation": "a.B", "parameters": {"version": "v", "x": {"y": 1}}}))
    settings = ModelSettings.parse_file(str(path))
    assert settings.version == "v"
    assert settings._source == str(path)
    assert settings.parameters.x == {"y": 1}
    assert settings.model_dump()["implementation"] == "a.B"


def test_converters() -> None:
    from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
    from mlserver.types import InferenceRequest, InferenceResponse

    tensors = [
        {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0], "parameters": {"content_type": "np"}},
        {"name": "s", "shape": [1], "datatype": "BYTES", "data": [b"a"], "parameters": {}},
    ]
    for use_raw in (False, True):
        request = InferenceRequest(id="i", parameters={"p": 1}, inputs=tensors)
        message = ModelInferRequestConverter.from_types(request, "m", "1", use_raw=use_raw)
        assert bool(message.raw_input_contents) is use_raw
        assert ModelInferRequestConverter.to_types(message).model_dump() == request.model_dump()
        response = InferenceResponse(model_name="m", model_version="1", id="i", parameters={}, outputs=tensors)
        answer = ModelInferResponseConverter.from_types(response, use_raw=use_raw)
        assert ModelInferResponseConverter.to_types(answer).model_dump() == response.model_dump()


def test_metrics_count_only_in_a_model() -> None:
    from mlserver import log, register
    from mlserver.context import model_context
    from mlserver.metrics.errors import InvalidModelContext

    assert register("seen", "What was seen") is register("seen", "again")
    with pytest.raises(InvalidModelContext):
        log(seen=1)

    class Settings:
        name = "m"
        version = None

    with model_context(Settings()):
        log(seen=1)


def test_a_cache_forgets_the_oldest() -> None:
    from mlserver.cache import LocalCache

    async def walk() -> list[Any]:
        cache = LocalCache(size=2)
        for key in ("a", "b", "a", "c"):
            await cache.insert(key, key.upper())
        return [await cache.lookup("a"), await cache.lookup("b"), await cache.lookup("c"), await cache.size()]

    assert asyncio.run(walk()) == ["A", "", "C", 2]


def test_raw_contents_there_and_back() -> None:
    from mlserver.raw import extract_raw, inject_raw, pack, unpack
    from mlserver.types import RequestInput

    numbers = RequestInput(name="n", shape=[2], datatype="INT16", data=[1, -2])
    texts = RequestInput(name="t", shape=[2], datatype="BYTES", data=[b"ab", b""])
    assert (pack(numbers), pack(texts)) == (b"\x01\x00\xfe\xff", b"\x02\0\0\0ab\0\0\0\0")
    assert unpack(texts, pack(texts)) == [b"ab", b""]
    elements, raw = extract_raw([numbers, texts])
    assert [list(found.data) for found in elements] == [[], []]
    assert [list(found.data) for found in inject_raw(elements, raw)] == [[1, -2], [b"ab", b""]]


def test_models_that_a_model_loads_itself() -> None:
    from mlserver import MLModel, ModelSettings
    from mlserver.batching import load_batching
    from mlserver.errors import ModelNotFound
    from mlserver.registry import MultiModelRegistry

    async def walk() -> None:
        registry = MultiModelRegistry()
        model = await registry.load(ModelSettings(name="m", implementation=MLModel))
        assert (await load_batching(model)) is (await registry.get_model("m"))
        assert (model.ready, await registry.get_models()) == (True, [model])
        await registry.unload("m")
        with pytest.raises(ModelNotFound, match="Model m not found"):
            await registry.get_model("m")

    asyncio.run(walk())


def test_hashes_of_environments(tmp_path: Path) -> None:
    from mlserver import env

    (tmp_path / "file").write_bytes(b"abc")
    both = asyncio.run(env.compute_hash_of_file(str(tmp_path / "file"))), asyncio.run(env.compute_hash_of_string("abc"))
    assert both[0] == both[1] == hashlib.sha256(b"abc").hexdigest()
