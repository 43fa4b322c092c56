"""The runtimes of the manual's walks, written anew: a codec of one's own, JSON in a text, a worker that is slow."""

import json
import os
import time
from typing import Any, List

import mlserver
import numpy as np
from mlserver import MLModel
from mlserver.codecs import InputCodec, StringCodec, decode_args, register_input_codec
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput


class Picture(np.ndarray):
    """Grey levels, row by row."""


@register_input_codec
class PgmCodec(InputCodec):
    """Pictures as portable grey maps: a head of text, a byte a pixel."""

    ContentType = "pgm"
    TypeHint = Picture

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, Picture)

    @classmethod
    def encode_output(cls, name: str, payload: Picture, **kwargs: Any) -> ResponseOutput:
        height, width = payload.shape
        text = b"P5 %d %d 255\n" % (width, height) + payload.astype(np.uint8).tobytes()
        said = Parameters(content_type=cls.ContentType)
        return ResponseOutput(name=name, shape=[1], datatype="BYTES", data=[text.decode("latin1")], parameters=said)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Picture:
        (packed,) = request_input.data
        text = packed.encode("latin1") if isinstance(packed, str) else packed
        head, _, pixels = text.partition(b"\n")
        _, width, height, _ = head.split()
        return np.frombuffer(pixels, np.uint8).reshape(int(height), int(width)).view(Picture)


class Turned(MLModel):
    """A picture on its side, decoded by the content type that the client says or the metadata have."""

    @decode_args
    async def predict(self, picture: Picture) -> Picture:
        return picture.T.copy()


class JsonHello(MLModel):
    """JSON in a text, and JSON back."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (text,) = StringCodec.decode_input(payload.inputs[0])
        said = json.loads(text)
        answer = {"hello": said["name"], "sum": sum(said["numbers"])}
        output = StringCodec.encode_output("answer", [json.dumps(answer)], use_bytes=False)
        return InferenceResponse(model_name=self.name, outputs=[output])


class Worker(MLModel):
    """Says which process it is, after some work."""

    async def load(self) -> bool:
        mlserver.register("worker_rows", "Rows that were seen")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        time.sleep(0.05)
        mlserver.log(worker_rows=3.0)
        return InferenceResponse(model_name=self.name, outputs=[_numbers("pid", [os.getpid()])])


class Tagged(MLModel):
    """A parameter of each request, as the batch brings it, and one of the model's for the first two of a batch."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        tags = given.parameters.model_extra["tag"]
        rows = given.shape[0]
        texts = [",".join(tags) if isinstance(tags, list) else tags] * rows
        output = StringCodec.encode_output("tags", texts, use_bytes=False)
        output.parameters = Parameters(content_type="str", foo=["foo_1", "foo_2"])
        return InferenceResponse(model_name=self.name, outputs=[output])


def _numbers(name: str, values: List[int]) -> ResponseOutput:
    return ResponseOutput(name=name, shape=[len(values)], datatype="INT64", data=values)
