"""predict_stream over gRPC as MLServer has it: one call of the method for a client's whole stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.conftest import Serve
from tests.support.runtimes import write_runtime
from tests.support.talks import PATIENCE, Talk, answered, numbers

pytestmark = pytest.mark.ours


class Client:
    """A channel to a server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self._talks: list[Talk] = []

    def talk(self) -> Talk:
        self._talks.append(Talk(self.channel))
        return self._talks[-1]

    def close(self) -> None:
        for talk in self._talks:
            talk.say_all()  # a thread of gRPC's waits for it
        self.channel.close()

    def infer(self, request: Any) -> list[int]:
        method = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        return answered(method(request, timeout=PATIENCE))

    def counts(self) -> list[int]:
        """How many calls of predict_stream were begun, cancelled, closed."""
        return self.infer(numbers(1))


@pytest.fixture(scope="module")
def client(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    repository = tmp_path_factory.mktemp("mlserver")
    write_runtime(repository, "talks", "runtimes.Talks")
    write_runtime(repository, "cached", "runtimes.Talks", config="response_cache { enable: true }")
    write_runtime(repository, "echo", "runtimes.Echo")
    with make_server(repository, options=("--cache-config=local,size=1048576",)) as running:
        made = Client(running.grpc)
        yield made
        made.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_call_reads_the_whole_stream(client: Client) -> None:
    before = client.counts()
    talk = client.talk()
    talk.say(1, identity="mine")
    assert talk.hear() == [1, 1]
    talk.say(2, 3, identity="another")
    response = next(talk.call)
    assert (answered(response), response.id) == ([6, 2], "mine")
    talk.say(4)
    talk.say_all()
    assert talk.rest() == [[10, 3], [10, 3, -1]]
    assert np.subtract(client.counts(), before).tolist() == [1, 0, 1]


def test_many_requests_at_once_and_streams_side_by_side(client: Client) -> None:
    talks = [client.talk() for _ in range(3)]
    for number in range(1, 301):
        for talk in talks:
            talk.say(number)
    for talk in talks:
        talk.say_all()
    for talk in talks:
        found = talk.rest()
        assert [count for _, count in found[:-1]] == list(range(1, 301))
        assert found[-1] == [300 * 301 // 2, 300, -1]


def test_a_stream_ends_with_the_call(client: Client) -> None:
    talk = client.talk()
    talk.say(5)
    assert talk.hear() == [5, 1]
    talk.say(0)
    talk.say(1)
    assert talk.rest() == [[5, 1, -1]]
    assert talk.call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        ([-1], grpc.StatusCode.INVALID_ARGUMENT, "below 0"),
        ([], grpc.StatusCode.INVALID_ARGUMENT, "has 0 bytes, expected 8"),
    ],
)
def test_an_error_ends_the_stream_with_its_status(client: Client, wrong: list[int], code: Any, text: str) -> None:
    before = client.counts()
    talk = client.talk()
    talk.say(5)
    assert talk.hear() == [5, 1]
    request = numbers(*wrong)
    request.inputs[0].shape[:] = [1]
    talk.put(request)
    with pytest.raises(grpc.RpcError) as caught:
        talk.rest()
    assert caught.value.code() == code
    assert text in str(caught.value.details())
    until(lambda: client.counts()[2] == before[2] + 1)


def test_a_client_that_goes_cancels_the_call(client: Client) -> None:
    before = client.counts()
    talk = client.talk()
    talk.say(5)
    assert talk.hear() == [5, 1]
    talk.call.cancel()
    # As with MLServer the model may see the end of the requests before it is cancelled.
    until(lambda: client.counts()[2] == before[2] + 1)


@pytest.mark.parametrize("all_said", [False, True])
def test_a_call_that_waits_for_something_else_is_cancelled_there(client: Client, all_said: bool) -> None:
    before = client.counts()
    talk = client.talk()
    talk.say(60_000)
    if all_said:
        talk.say_all()
    until(lambda: client.counts()[0] == before[0] + 1)
    talk.call.cancel()
    until(lambda: np.subtract(client.counts(), before).tolist() == [1, 1, 1])


def test_who_is_not_read_has_to_wait(client: Client) -> None:
    taken = []
    large = pb.ModelInferRequest(model_name="talks")
    large.inputs.add(name="x", datatype="INT64", shape=[1 << 16])
    large.raw_input_contents.append(np.ones(1 << 16, np.int64).tobytes())

    def requests() -> Iterator[Any]:
        yield numbers(1000)
        for at in range(100):
            taken.append(at)
            yield large

    method = client.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    call: Any = method(requests(), timeout=PATIENCE)
    assert answered(next(call)) == [1000, 1]
    assert len(taken) < 60
    assert [answered(response)[0] for response in call][-1] == 1000 + (100 << 16)
    assert len(taken) == 100


def test_what_began_with_another_model_are_requests_of_their_own(client: Client) -> None:
    talk = client.talk()
    talk.say(7, model="echo")
    assert talk.hear() == [7]
    talk.say(8, model="echo")
    assert talk.hear() == [8]
    talk.say(2)
    assert talk.hear() == [2, 1]
    assert talk.hear() == [2, 1, -1]
    talk.say(3)
    talk.say_all()
    assert talk.rest() == [[3, 1], [3, 1, -1]]


def test_streams_are_not_cached(client: Client) -> None:
    for _ in range(2):
        talk = client.talk()
        talk.say(1, model="cached")
        talk.say(2, model="cached")
        talk.say_all()
        assert talk.rest() == [[1, 1], [3, 2], [3, 2, -1]]
    assert client.infer(numbers(9, model="cached")) == [2, 0, 2]
    assert client.infer(numbers(9, model="cached")) == [2, 0, 2]


def test_a_process_that_dies_ends_the_stream(client: Client) -> None:
    talk = client.talk()
    talk.say(5)
    assert talk.hear() == [5, 1]
    talk.say(-13)
    with pytest.raises(grpc.RpcError) as caught:
        talk.rest()
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    assert "exit" in str(caught.value.details())
    until(lambda: _lives(client))


def _lives(client: Client) -> bool:
    try:
        return client.counts() == [0, 0, 0]
    except grpc.RpcError:
        return False
