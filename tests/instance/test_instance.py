"""An instance over a real process, in good times."""

from __future__ import annotations

import asyncio
import logging
import struct
import time

import psutil
import pytest

from pyserver.errors import ErrorCode
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.states import State
from pyserver.types import RequestedOutput, Tensor
from tests.instance.conftest import Owner, ask, floats, make_payload, make_request, make_spec, ready

FOUR = struct.pack("<4f", 1, 2, 3, 4)


async def test_answers_with_its_inputs(instance: Instance, owner: Owner) -> None:
    payload = make_payload(owner, make_request(floats("A", FOUR), id="x"))
    assert instance.room(0)
    instance.execute(payload)
    assert instance.load == 1
    await owner.heard(payload)
    [response] = owner.answers[payload.pendings[0]]
    assert (response.model_name, response.model_version, response.id) == ("m", "1", "x")
    [output] = response.outputs
    assert (output.name, output.datatype, output.shape, bytes(output.data)) == ("A", "FP32", (1, 4), FOUR)
    timing = owner.timings[payload]
    assert timing is not None
    assert abs(time.monotonic_ns() - timing.started_ns) < 10_000_000_000
    assert instance.load == 0
    owner.release()


async def test_completes_the_config(memory: RequestMemory) -> None:
    instance = Instance(make_spec(max_batch_size=4), memory, time.monotonic_ns, lambda instance: None)
    assert await instance.start(complete_config=True) == '{"completed": true, "max_batch_size": 4}'
    assert instance.state is State.LOADING
    assert not instance.room(0)
    await instance.initialize()
    assert instance.state is State.READY
    await instance.stop(5.0)
    assert instance.state is State.EXITED


async def test_several_inputs_and_wanted_outputs(instance: Instance, owner: Owner) -> None:
    texts = struct.pack("<I2sI1s", 2, b"ab", 1, b"c")
    tensors = floats("A", FOUR), Tensor("B", "BYTES", (2,), texts), Tensor("C", "INT8", (3,), b"xyz")
    payload = make_payload(owner, make_request(*tensors, outputs=[RequestedOutput("A"), RequestedOutput("B")]))
    instance.execute(payload)
    await owner.heard(payload)
    outputs = owner.answers[payload.pendings[0]][0].outputs
    assert [(o.name, o.datatype, o.shape, bytes(o.data)) for o in outputs] == [
        (t.name, t.datatype, t.shape, t.data) for t in tensors
    ]
    owner.release()


async def test_rows_of_a_batch_lie_side_by_side(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    requests = [
        make_request(floats("A", bytes([row]) * 16), Tensor("B", "UINT8", (1, 3), bytes([row + 100]) * 3))
        for row in range(3)
    ]
    payload = make_payload(owner, *requests)
    instance.execute(payload)
    [block] = memory.arena._live
    assert bytes(memory.view[block : block + 48]) == b"\0" * 16 + b"\1" * 16 + b"\2" * 16
    assert bytes(memory.view[block + 64 : block + 73]) == b"ddd" + b"eee" + b"fff"
    await owner.heard(payload)
    for row, pending in enumerate(payload.pendings):
        outputs = owner.answers[pending][0].outputs
        assert [bytes(output.data) for output in outputs] == [bytes([row]) * 16, bytes([row + 100]) * 3]
    owner.release()


async def test_what_was_received_in_place_is_not_copied(
    memory: RequestMemory, instance: Instance, owner: Owner
) -> None:
    block = memory.reserve(10 + 16 + 4, 10)
    assert block is not None
    block.view[10:26] = FOUR
    block.view[26:30] = b"abcd"
    tensors = Tensor("A", "FP32", (4,), block.view[10:26]), Tensor("B", "UINT8", (4,), block.view[26:30])
    payload = make_payload(owner, make_request(*tensors, lease=block))
    instance.execute(payload)
    assert memory.arena.blocks == 1
    block.release()
    block.release()
    assert memory.arena.blocks == 1, "the instance still holds it"
    await owner.heard(payload)
    outputs = owner.answers[payload.pendings[0]][0].outputs
    assert [bytes(output.data) for output in outputs] == [FOUR, b"abcd"]
    owner.release()


async def test_what_was_received_unaligned_is_copied(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    block = memory.reserve(64, 0)
    assert block is not None
    block.view[2:18] = FOUR
    payload = make_payload(owner, make_request(Tensor("A", "FP32", (4,), block.view[2:18]), lease=block))
    instance.execute(payload)
    assert memory.arena.blocks == 2
    await owner.heard(payload)
    assert bytes(owner.answers[payload.pendings[0]][0].outputs[0].data) == FOUR
    block.release()
    owner.release()


async def test_no_inputs_and_empty_tensors(instance: Instance, owner: Owner) -> None:
    none = make_payload(owner, make_request())
    empty = make_payload(owner, make_request(Tensor("A", "FP32", (0, 4), b"")))
    instance.execute(none)
    instance.execute(empty)
    await owner.heard(none, empty)
    assert owner.answers[none.pendings[0]][0].outputs == []
    [output] = owner.answers[empty.pendings[0]][0].outputs
    assert (output.shape, bytes(output.data)) == ((0, 4), b"")
    owner.release()


async def test_many_payloads_in_one_turn_keep_their_order(instance: Instance, owner: Owner) -> None:
    payloads = [make_payload(owner, make_request(floats("A", struct.pack("<f", n)))) for n in range(300)]
    for payload in payloads:
        instance.execute(payload)
    await owner.heard(*payloads)
    heard = [bytes(owner.answers[payload.pendings[0]][0].outputs[0].data) for payload in payloads]
    assert heard == [struct.pack("<f", n) for n in range(300)]
    assert list(owner.timings) == payloads
    assert instance._pace.depth > 1, "fast payloads are sent ahead"
    owner.release()


async def test_more_than_the_socket_holds(instance: Instance, owner: Owner) -> None:
    """Each record is longer than a message can be; all of them are longer than the socket's buffer."""
    text = "x" * 300_000
    payloads = [make_payload(owner, make_request(floats("A", FOUR), parameters={"text": text})) for _ in range(8)]
    for payload in payloads:
        instance.execute(payload)
    await owner.heard(*payloads)
    assert len(owner.answers) == 8
    owner.release()


async def test_released_blocks_go_back_to_the_stub(instance: Instance, owner: Owner) -> None:
    payloads = [make_payload(owner, make_request(floats("A", FOUR))) for _ in range(5)]
    for payload in payloads:
        instance.execute(payload)
    await owner.heard(*payloads)
    first = {id(output) for responses in owner.answers.values() for output in responses}
    assert len(first) == 5
    owner.release()
    owner.release()  # again for nothing: a block given back twice would kill the fake stub
    again = make_payload(owner, make_request(floats("A", FOUR)))
    instance.execute(again)
    await owner.heard(again)
    assert instance.state is State.READY
    owner.release()
    await asyncio.sleep(0.05)  # FREE_DELAY: they go even if nothing else is said
    assert instance._link._freed == []


async def test_an_error_response(instance: Instance, owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    payload = ask(owner, "fail")
    instance.execute(payload)
    await owner.heard(payload)
    error = owner.errors[payload.pendings[0]]
    assert (error.code, error.message) == (ErrorCode.INVALID_ARG, "no such thing")
    assert "line 1" in caplog.text


async def test_responses_may_be_many(instance: Instance, owner: Owner) -> None:
    payload = ask(owner, "stream", count=3)
    instance.execute(payload)
    await owner.heard(payload)
    assert [len(response.outputs) for response in owner.answers[payload.pendings[0]]] == [1, 1, 1, 0]
    owner.release()


async def test_an_error_in_a_stream_is_not_its_end(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    payload = ask(owner, "fail_in_stream")
    pending = payload.pendings[0]
    instance.execute(payload)
    await owner.heard(payload)
    await owner.until(lambda: pending in owner.finished)
    first, second, last = owner.answers[pending]
    assert first.error is not None
    assert (first.error.message, first.outputs) == ("half way", [])
    assert second.error is last.error is None
    owner.release()


async def test_cancelling_is_seen_by_the_model(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    payload = ask(owner, "wait_for_cancel")
    instance.execute(payload)
    instance.cancel(payload.pendings[0])
    await owner.heard(payload)
    assert owner.answers[payload.pendings[0]][0].parameters == {"cancelled": 1}


async def test_full_request_memory_is_an_error(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    payload = make_payload(owner, make_request(Tensor("A", "UINT8", (100 << 20,), bytes(100 << 20))))
    instance.execute(payload)
    await owner.heard(payload)
    error = owner.errors[payload.pendings[0]]
    assert error.code is ErrorCode.UNAVAILABLE
    assert "--max-model-memory" in error.message
    after = make_payload(owner, make_request(floats("A", FOUR)))
    instance.execute(after)
    await owner.heard(after)
    owner.release()


async def test_no_free_slots_is_no_failure(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    kept, memory.slots[:] = list(memory.slots), []
    one, two = make_payload(owner, make_request()), make_payload(owner, make_request(), make_request())
    instance.execute(one)
    instance.execute(two)
    instance.cancel(two.pendings[1])
    await owner.heard(one, two)
    assert memory.slots == []
    memory.slots[:] = kept


async def test_output_and_log_records(instance: Instance, owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    said = ask(owner, "print", text="hel\x1blo\nrest")
    logged = ask(owner, "log")
    instance.execute(said)
    instance.execute(logged)
    await owner.heard(said, logged)
    await instance.stop(5.0)
    records = [record for record in caplog.records if record.name == "pyserver.model"]
    assert [record.getMessage() for record in records if getattr(record, "stream", "") == "stdout"] == [
        "m/1 m_0_0: hel\\x1blo",
        "m/1 m_0_0: rest",
    ]
    assert ("m/1 m_0_0: model.py:8: hello", 30) in [(record.getMessage(), record.levelno) for record in records]
    assert all(record.model == "m" and record.instance == "m_0_0" for record in records)  # type: ignore[attr-defined]


async def test_stop_lets_it_finish_first(instance: Instance, owner: Owner) -> None:
    payloads = [ask(owner, "sleep", seconds=0.05), make_payload(owner, make_request(floats("A", FOUR)))]
    for payload in payloads:
        instance.execute(payload)
    await instance.stop(5.0)
    assert instance.state is State.EXITED
    assert all(owner.timings[payload] is not None for payload in payloads)
    late = make_payload(owner, make_request())
    instance.execute(late)
    await owner.heard(late)
    assert owner.back == [late]
    response = owner.answers[payloads[1].pendings[0]][0]
    assert bytes(response.outputs[0].data) == FOUR, "a response outlives its stub until it is released"
    owner.release()


async def test_nothing_it_started_outlives_it(instance: Instance, owner: Owner) -> None:
    payload = ask(owner, "child")
    instance.execute(payload)
    await owner.heard(payload)
    parameters = owner.answers[payload.pendings[0]][0].parameters
    assert parameters is not None
    child = psutil.Process(int(parameters["pid"]))
    await instance.stop(5.0)
    try:
        child.wait(5.0)
    except psutil.NoSuchProcess:
        pass
    assert not child.is_running()


async def test_it_inherits_four_descriptors(memory: RequestMemory, instance: Instance, owner: Owner) -> None:
    payload = ask(owner, "fds")
    instance.execute(payload)
    await owner.heard(payload)
    parameters = owner.answers[payload.pendings[0]][0].parameters
    # stdin, stdout, stderr, the channel, the channel of its calls, two memfds, their two duplicates in
    # mmap, and the folder being listed
    assert parameters == {"fds": 10}


async def test_several_share_request_memory(memory: RequestMemory, owner: Owner) -> None:
    instances = await asyncio.gather(*(ready(memory) for _ in range(3)))
    payloads = [make_payload(owner, make_request(floats("A", struct.pack("<f", n)))) for n in range(30)]
    for number, payload in enumerate(payloads):
        instances[number % 3].execute(payload)
    await owner.heard(*payloads)
    heard = [bytes(owner.answers[payload.pendings[0]][0].outputs[0].data) for payload in payloads]
    assert heard == [struct.pack("<f", n) for n in range(30)]
    owner.release()
    await asyncio.gather(*(instance.stop(5.0) for instance in instances))
