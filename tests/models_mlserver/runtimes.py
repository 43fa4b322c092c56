"""The runtimes that tests/e2e/test_mlserver*.py serve; the real MLServer runs them as well (tests/parity)."""

import asyncio
import logging
import os
from typing import AsyncIterator, List, Tuple

import mlserver
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, StringCodec, decode_args
from mlserver.errors import MLServerError
from mlserver.logging import logger
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestOutput,
    ResponseOutput,
)


class Echo(MLModel):
    """Its inputs, as they came."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                ResponseOutput(
                    name=found.name,
                    shape=found.shape,
                    datatype=found.datatype,
                    data=found.data,
                    parameters=found.parameters,
                )
                for found in payload.inputs
            ],
        )


class Meta(MLModel):
    """Declared in its settings, answered by the request's codec."""

    async def load(self) -> bool:
        self.outputs = [MetadataTensor(name="late", datatype="FP32", shape=[-1, 2])]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self.encode_response(self.decode_request(payload, default_codec=NumpyRequestCodec))


class Decoded(MLModel):
    """By its hints."""

    @decode_args
    async def predict(self, a: np.ndarray, s: List[str]) -> Tuple[np.ndarray, List[str]]:
        return a * 2, [*s, *s]


class Heard(MLModel):
    """What it hears beside tensors, and headers of its own."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        said = payload.parameters.model_dump() if payload.parameters else {}
        said["inputs"] = [found.parameters.model_dump() if found.parameters else None for found in payload.inputs]
        said["outputs"] = [output.model_dump() for output in payload.outputs or []]
        output = StringCodec.encode_output("heard", [mlserver.codecs.json.encode_to_json(said, use_bytes=False)])
        headers = {"x-answer": "yes"}
        if said.get("bad"):
            headers.update({"Content-Length": "1", "x-bad": "a\r\nb: c"})
        return InferenceResponse(
            model_name=self.name, outputs=[output], parameters=Parameters(headers=headers, nested={"a": [1, None]})
        )


class Broken(MLModel):
    """Goes wrong as it is told."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        how = StringCodec.decode_input(payload.inputs[0])[0]
        if how == "status":
            raise MLServerError("I'm a teapot", status_code=418)
        if how == "client":
            raise MLServerError("your fault")
        if how == "bytes":
            output = ResponseOutput(name="b", shape=[1, 1], datatype="BYTES", data=[b"\xff"])
            return InferenceResponse(model_name=self.name, outputs=[output])
        if how == "none":
            return None
        raise ValueError("bad value")


class Streams(MLModel):
    """As many responses as it is told, then perhaps an error."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self._made(payload, -1)

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            count = int(NumpyCodec.decode_input(payload.inputs[0]).flat[0])
            for number in range(abs(count)):
                await asyncio.sleep(0)
                yield self._made(payload, number)
            if count < 0:
                raise MLServerError("enough")

    def _made(self, payload: InferenceRequest, number: int) -> InferenceResponse:
        output = NumpyCodec.encode_output("number", np.array([number]))
        return InferenceResponse(model_name=self.name, outputs=[output], parameters=Parameters(headers={"x-s": "1"}))


class Batched(MLModel):
    """How many rows it was asked together, and what it saw of the parameter `p`; a list `tag` goes back."""

    async def load(self) -> bool:
        mlserver.register("rows_seen", "Rows of a call")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        mlserver.log(rows_seen=len(x))
        if (x < 0).any():
            raise ValueError("a negative one")
        seen = payload.inputs[0].parameters.model_dump() if payload.inputs[0].parameters else {}
        rows = NumpyCodec.encode_output("rows", np.full((len(x), 1), len(x)))
        echo = NumpyCodec.encode_output("echo", x)
        echo.parameters = Parameters(content_type="np", tag=[f"t{n}" for n in range(len(x))])
        listed = seen.get("p") if isinstance(seen.get("p"), list) else [seen.get("p")] * len(x)
        ps = StringCodec.encode_output("p", [str(found) for found in listed][: len(x)])
        return InferenceResponse(model_name=self.name, outputs=[rows, echo, ps])


class Waits(MLModel):
    """Waits as long as it is told, beside others; has a task of its own."""

    async def load(self) -> bool:
        self.beats = 0
        self.task = asyncio.create_task(self._beat())
        return True

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.beats += 1

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        seconds = float(NumpyCodec.decode_input(payload.inputs[0]).flat[0])
        await asyncio.wait_for(asyncio.sleep(seconds), 10)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("beats", np.array([self.beats]))]
        )

    async def unload(self) -> bool:
        self.task.cancel()
        return True


class Plain(MLModel):
    """Not a coroutine in sight."""

    def load(self) -> bool:
        self.ready = True
        return self.ready

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = self.decode(payload.inputs[0])
        output = self.encode(x + 1, RequestOutput(name="y"))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])

    def predict_stream(self, payloads):
        for number in range(2):
            yield InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("n", np.array([number]))])


class NeverReady(MLModel):
    """Says that it is not ready."""

    async def load(self) -> bool:
        return False


class Talks(MLModel):
    """One call for a client's whole stream: it answers each number with the sum of all so far, and their count.

    0 ends the stream, below 0 it fails, -13 ends the process, and a first number of 1000 or more has it wait for so
    many milliseconds. What became of the calls is a request to `predict`.
    """

    async def load(self) -> bool:
        self._entered = self._cancelled = self._closed = 0
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return self._made([self._entered, self._cancelled, self._closed])

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        self._entered += 1
        total = count = 0
        try:
            async for payload in payloads:
                numbers = NumpyCodec.decode_input(payload.inputs[0])
                if not numbers.flat[0]:
                    break
                if numbers.flat[0] == -13:
                    os._exit(7)
                if numbers.flat[0] >= 1000 and not count:
                    await asyncio.sleep(numbers.flat[0] / 1000)
                if numbers.flat[0] < 0:
                    raise MLServerError("below 0")
                total, count = total + int(numbers.sum()), count + 1
                yield self._made([total, count])
            yield self._made([total, count, -1])
        except asyncio.CancelledError:
            self._cancelled += 1
            raise
        finally:
            self._closed += 1

    def _made(self, numbers: List[int]) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("n", np.array(numbers))])


class Logs(MLModel):
    """Tells MLServer's logger, and one below it, what id it was asked with."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        logging.getLogger("mlserver.mine").debug("debug %s", payload.id)
        logger.info("info %s", payload.id)
        logging.getLogger("mlserver.mine").warning("warning %s", payload.id)
        return InferenceResponse(model_name=self.name, outputs=[])
