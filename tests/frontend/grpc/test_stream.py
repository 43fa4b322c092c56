"""ModelStreamInfer over each engine, on the same port as everything else."""

import asyncio
import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client_library
from tritonclient.utils import InferenceServerException

from pyserver.frontend.grpc.stream import WINDOW
from pyserver.proto import inference as pb

PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


def request(model="identity", id="", size=2, **fields):
    made = pb.ModelInferRequest(model_name=model, id=id, **fields)
    made.inputs.add(name="X", datatype="FP32", shape=[2])
    made.raw_input_contents.append(bytes(4 * size))
    return made.SerializeToString()


class Stream:
    """A stream that is written to and read from in turn."""

    def __init__(self, channel, **options):
        self._outgoing = queue.SimpleQueue()
        self._call = channel.stream_stream(PATH)(iter(self._outgoing.get, None), timeout=30, **options)

    def send(self, message):
        self._outgoing.put(message)

    def close(self):
        self._outgoing.put(None)

    def cancel(self):
        self._call.cancel()
        self.close()

    async def next(self):
        return pb.ModelStreamInferResponse.FromString(await asyncio.to_thread(next, self._call))

    async def rest(self):
        return [pb.ModelStreamInferResponse.FromString(m) for m in await asyncio.to_thread(list, self._call)]

    def status(self):
        return self._call.code(), self._call.details()


@pytest.fixture
def stream(channel):
    made = Stream(channel)
    yield made
    made.cancel()


async def test_tritons_client_streams(client, ask):
    answers = queue.SimpleQueue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number in range(5):
        given = client_library.InferInput("A", [3], "INT64")
        given.set_data_from_numpy(np.full(3, number))
        client.async_stream_infer("identity", [given], request_id=str(number))
    for number in range(5):
        result, error = await ask(answers.get, timeout=10)
        assert error is None
        assert result.get_response().id == str(number)
        assert result.as_numpy("OUT_A").tolist() == [number] * 3
        assert result.get_response().parameters["triton_final_response"].bool_param
    client.async_stream_infer("unknown", [given])
    result, error = await ask(answers.get, timeout=10)
    assert isinstance(error, InferenceServerException)
    assert "unknown model" in error.message()
    await ask(client.stop_stream)


async def test_a_fast_model_overtakes_a_slow_one(stream, planes):
    stream.send(request("held", "slow"))
    stream.send(request("identity", "fast"))
    assert (await stream.next()).infer_response.id == "fast"
    planes.answer(*planes.held[0])
    slow = await stream.next()
    assert slow.infer_response.id == "slow"
    assert slow.infer_response.parameters["triton_final_response"].bool_param
    assert slow.infer_response.raw_output_contents[0] == bytes(8)
    stream.close()
    assert await stream.rest() == []
    assert stream.status()[0] is grpc.StatusCode.OK
    assert [lease.released for lease in planes.leases] == [1, 1]


async def test_what_was_asked_is_answered_after_the_client_has_said_all(stream, planes):
    for number in range(3):
        stream.send(request("held", str(number)))
    stream.close()
    await planes.holds(3)
    for held in reversed(planes.held):
        planes.answer(*held)
    assert [message.infer_response.id for message in await stream.rest()] == ["2", "1", "0"]
    assert stream.status()[0] is grpc.StatusCode.OK


async def test_errors_stay_in_the_stream(stream):
    stream.send(request("code-3", "model"))
    model = await stream.next()
    assert model.error_message == "failed with 3"
    answer = model.infer_response
    assert (answer.id, answer.model_name) == ("model", "code-3")
    assert answer.parameters["triton_final_response"].bool_param
    for id, refused in (("early", request("refused-4", "early")), ("later", request("refused-3", "later"))):
        stream.send(refused)
        message = await stream.next()
        assert message.error_message
        assert (message.infer_response.id, message.infer_response.model_name) == (id, "")
        assert not message.infer_response.parameters
    stream.send(b"\xff")
    assert "failed to parse" in (await stream.next()).error_message
    stream.send(request("identity", "well"))
    assert (await stream.next()).infer_response.id == "well"


async def test_errors_end_the_stream_where_the_client_wants_that(channel):
    stream = Stream(channel, metadata=[("triton_grpc_error", "true")])
    stream.send(request("refused-3", "in band"))
    assert (await stream.next()).error_message
    stream.send(request("code-2"))
    with pytest.raises(grpc.RpcError):
        await stream.rest()
    assert stream.status() == (grpc.StatusCode.NOT_FOUND, "failed with 2")
    stream.close()


async def test_a_client_that_goes_cancels_what_it_asked(channel, planes):
    stream = Stream(channel)
    for _ in range(3):
        stream.send(request("held"))
    await planes.holds(3)
    stream.cancel()
    await planes.cancelled(3)


async def test_a_deadline_cancels_what_was_asked(channel, planes):
    outgoing = queue.SimpleQueue()
    call = channel.stream_stream(PATH)(iter(outgoing.get, None), timeout=0.5)
    outgoing.put(request("held"))
    await planes.holds(1)
    with pytest.raises(grpc.RpcError) as raised:
        await asyncio.to_thread(next, call)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await planes.cancelled(1)
    outgoing.put(None)


async def test_a_client_that_does_not_read_is_not_read_from_for_ever(stream, planes):
    for _ in range(WINDOW + 50):
        stream.send(request("held"))
    await planes.holds(WINDOW)
    await asyncio.sleep(0.1)
    assert len(planes.held) == WINDOW
    answered = 0
    while answered < WINDOW + 50:
        planes.answer(*planes.held[answered])
        await stream.next()
        answered += 1
        if answered < 50:
            await planes.holds(WINDOW + answered)


async def test_a_large_message(stream, planes):
    made = pb.ModelInferRequest(model_name="identity")
    made.inputs.add(name="X", datatype="UINT8", shape=[16 << 20])
    made.raw_input_contents.append(bytes(16 << 20))
    stream.send(made.SerializeToString())
    assert len((await stream.next()).infer_response.raw_output_contents[0]) == 16 << 20
