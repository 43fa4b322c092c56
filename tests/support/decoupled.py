"""Decoupled models, and a reader of their streams."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tritonclient import grpc as triton_grpc

from tests.support.repositories import write_model
from tools.process import ServerProcess

CONFIG = """
backend: "python"
{extra}
model_transaction_policy {{ decoupled: true }}
input {{ name: "IN" data_type: TYPE_INT32 dims: [ -1 ] }}
output {{ name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }}
"""
REPEAT = """
import threading, time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    \"\"\"Gives each element of IN as a response of its own, from a thread, then closes.\"\"\"

    def initialize(self, args):
        self.threads = []

    def execute(self, requests):
        for request in requests:
            values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            thread = threading.Thread(target=self.give, args=(request, request.get_response_sender()))
            self.threads.append(thread)
            thread.start()
        return None

    def give(self, request, sender):
        for value in pb_utils.get_input_tensor_by_name(request, "IN").as_numpy():
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([value], np.int32))]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def finalize(self):
        for thread in self.threads:
            thread.join()
"""
SQUARE = """
import asyncio
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    \"\"\"Gives IN as often as it says, the last with the final flag; coroutines of all requests run together.\"\"\"

    async def execute(self, requests):
        await asyncio.gather(*(self.give(request) for request in requests))

    async def give(self, request):
        sender = request.get_response_sender()
        count = int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0])
        for index in range(count):
            await asyncio.sleep(0.05)
            out = pb_utils.Tensor("OUT", np.array([count], np.int32))
            last = index == count - 1
            sender.send(pb_utils.InferenceResponse([out]), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL * last)
        if not count:
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
ODD = """
import os, signal, threading, time
import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    \"\"\"Does what the number in IN says.\"\"\"

    def execute(self, requests):
        for request in requests:
            what = int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0])
            returned = getattr(self, f"case_{what}")(request, request.get_response_sender())
        return returned

    def one(self, value):
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([value], np.int32))])

    def case_0(self, request, sender):
        pass  # dropped

    def case_1(self, request, sender):
        sender.send(self.one(1))
        raise ValueError("in the middle")

    def case_2(self, request, sender):
        sender.send(self.one(1))
        error = pb_utils.TritonError("an error", pb_utils.TritonError.UNAVAILABLE)
        sender.send(pb_utils.InferenceResponse(error=error))
        sender.send(self.one(2), FINAL)

    def case_3(self, request, sender):
        sender.send(self.one(1), FINAL)
        return []

    def case_4(self, request, sender):
        sender.send(self.one(4))
        threading.Thread(target=self.sleep, args=(sender,)).start()

    def sleep(self, sender):
        while not sender.is_cancelled():
            time.sleep(0.005)
        print("seen cancelled", flush=True)

    def case_5(self, request, sender):
        error = pb_utils.TritonError("unsupported at once", pb_utils.TritonError.UNSUPPORTED)
        sender.send(pb_utils.InferenceResponse(error=error), FINAL)

    def case_6(self, request, sender):
        self.sent = 0
        threading.Thread(target=self.flood, args=(sender,)).start()

    def flood(self, sender):
        while not sender.is_cancelled():
            sender.send(self.one(self.sent))
            self.sent += 1
        print(f"flooded with {self.sent}", flush=True)
        sender.send(flags=FINAL)

    def case_7(self, request, sender):
        sender.send(self.one(self.sent), FINAL)
"""


class Said(NamedTuple):
    """One message of a stream."""

    value: int | None
    final: bool | None
    error: str
    id: str


def write_decoupled(repository: Path, name: str, source: str, extra: str = "") -> Path:
    return write_model(repository, name, source, CONFIG.format(extra=extra))


def numbers(*values: int) -> triton_grpc.InferInput:
    made = triton_grpc.InferInput("IN", [len(values)], "INT32")
    made.set_data_from_numpy(np.array(values, np.int32))
    return made


class Listener:
    """A stream of tritonclient's, and what came of it."""

    def __init__(self, client: triton_grpc.InferenceServerClient) -> None:
        self.client = client
        self.heard: queue.Queue[Said] = queue.Queue()

    def ask(self, model: str, *values: int, **how: Any) -> None:
        self.client.async_stream_infer(model, [numbers(*values)], **how)

    def hear(self, result: Any, error: Any) -> None:
        if error is not None:
            self.heard.put(Said(None, None, str(error), ""))
            return
        answer = result.get_response()
        final = answer.parameters["triton_final_response"].bool_param
        out = result.as_numpy("OUT")
        self.heard.put(Said(None if out is None else int(out[0]), final, "", answer.id))

    def next(self) -> Said:
        return self.heard.get(timeout=20)

    def take(self, count: int) -> list[Said]:
        return [self.next() for _ in range(count)]


@contextmanager
def listening(server: ServerProcess, **headers: str) -> Iterator[Listener]:
    """An open stream to `server`."""
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        listener = Listener(client)
        client.start_stream(listener.hear, headers=headers or None)
        yield listener
        client.stop_stream()


async def read_slowly(server: ServerProcess, model: str) -> None:
    """Ask `model`, which floods its reader, for everything and read only the beginning, until nothing more is sent;
    then go, and wait for it to hear of that.
    """
    reader, writer = await asyncio.open_connection(*server.http.split(":"))
    body = b'{"IN": [6]}'
    head = f"POST /v2/models/{model}/generate_stream HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readexactly(100)
    before = -1
    async with asyncio.timeout(30):
        while (sent := await asyncio.to_thread(_sent, server)) != before:
            before = sent
            await asyncio.sleep(0.3)
    writer.transport.abort()
    await asyncio.to_thread(server.wait_log, "flooded with")


def _sent(server: ServerProcess) -> int:
    """How much the model `odd` has sent."""
    with listening(server) as stream:
        stream.ask("odd", 7)
        return stream.next().value or 0
