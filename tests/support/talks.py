"""Streams of requests by gRPC, said one by one."""

from __future__ import annotations

import queue
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

PATIENCE = 20


def numbers(*values: int, model: str = "talks", identity: str = "") -> Any:
    request = pb.ModelInferRequest(model_name=model, id=identity)
    added = request.inputs.add(name="x", datatype="INT64", shape=[len(values)])
    added.contents.int64_contents.extend(values)
    return request


def answered(response: Any) -> list[int]:
    return list(response.outputs[0].contents.int64_contents)


class Talk:
    """A stream whose requests are said one by one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._said: queue.Queue[Any] = queue.Queue()
        method = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        self.call: Any = method(iter(self._said.get, None), timeout=PATIENCE)

    def say(self, *values: int, **fields: Any) -> None:
        self.put(numbers(*values, **fields))

    def put(self, request: Any) -> None:
        self._said.put(request)

    def say_all(self) -> None:
        self._said.put(None)

    def hear(self) -> list[int]:
        return answered(next(self.call))

    def rest(self) -> list[list[int]]:
        return [answered(response) for response in self.call]


def talked(channel: grpc.Channel) -> list[list[int]]:
    """All that is heard of two requests in one stream."""
    talk = Talk(channel)
    talk.say(1)
    first = talk.hear()
    talk.say(2, 3)
    talk.say_all()
    return [first, *talk.rest()]
