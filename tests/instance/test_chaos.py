"""An instance whose stub fails in every way that a process can."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import struct
import time
from typing import Any

import psutil
import pytest

from pyserver.errors import ErrorCode
from pyserver.instance import end
from pyserver.instance.instance import Instance
from pyserver.instance.memory import RequestMemory
from pyserver.instance.patience import LoadError
from pyserver.instance.states import State
from pyserver.ipc import messages as m
from pyserver.payload import Payload
from tests.instance.conftest import Owner, ask, floats, make_payload, make_request, make_spec, ready

FOUR = struct.pack("<4f", 1, 2, 3, 4)
KEY = struct.unpack("<Q", b"KEY.....")[0]
X = m.pack_layout(m.Layout((("X", "FP32", (1,)),)))


def new(memory: RequestMemory, **config: Any) -> Instance:
    return Instance(make_spec(**config), memory, time.monotonic_ns, lambda instance: None)


async def gone(instance: Instance) -> None:
    assert await instance._end.within(10.0)


def plain(owner: Owner) -> Payload:
    return make_payload(owner, make_request(floats("A", FOUR)))


# Starting.


async def test_load_error(memory: RequestMemory) -> None:
    instance = new(memory, load="error")
    with pytest.raises(LoadError, match="ValueError: no") as caught:
        await instance.start()
    assert caught.value.traceback == "Traceback: ValueError: no"
    assert caught.value.code is ErrorCode.INTERNAL
    assert instance.state is State.FAILED
    assert instance.gone


async def test_initialize_error(memory: RequestMemory) -> None:
    instance = new(memory, initialize="error")
    await instance.start()
    with pytest.raises(LoadError) as caught:
        await instance.initialize()
    assert caught.value.message == "Internal: ValueError: no\n\nAt:\n  model.py(7): initialize\n"
    assert instance.gone


@pytest.mark.parametrize("step", ["load", "initialize"])
async def test_exit_while_loading_says_how_and_its_last_words(memory: RequestMemory, step: str) -> None:
    instance = new(memory, **{step: "exit"})
    if step == "initialize":
        await instance.start()
    with pytest.raises(LoadError) as caught:
        await (instance.start() if step == "load" else instance.initialize())
    assert caught.value.message == (
        "Stub process 'm_0_0' is not healthy: exited with status 3 while loading; last lines on stderr:\n"
        "  first line\n  last words"
    )
    assert instance.gone


async def test_a_silent_load_times_out(memory: RequestMemory) -> None:
    instance = new(memory, load="hang")
    with pytest.raises(LoadError, match=r"said nothing for 0\.5 s while loading"):
        await instance.start(timeout=0.5)
    assert instance.gone


async def test_a_cancelled_load_leaves_nothing(memory: RequestMemory) -> None:
    instance = new(memory, load="hang")
    task = asyncio.ensure_future(instance.start())
    while not instance.pid:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert instance.gone


async def test_stop_while_loading(memory: RequestMemory) -> None:
    instance = new(memory, load="hang")
    task = asyncio.ensure_future(instance.start())
    while instance.state is not State.LOADING:
        await asyncio.sleep(0.01)
    await instance.stop(5.0)
    with pytest.raises(LoadError):
        await task
    assert instance.state is State.EXITED


async def test_no_such_interpreter(memory: RequestMemory) -> None:
    spec = make_spec()
    object.__setattr__(spec, "interpreter", "/no/such/python")
    instance = Instance(spec, memory, time.monotonic_ns, lambda instance: None)
    with pytest.raises(LoadError, match="'m_0_0' can't be started with /no/such/python"):
        await instance.start()
    assert instance.state is State.FAILED
    await instance.stop(1.0)


async def test_another_version_of_the_messages(memory: RequestMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "VERSION", m.VERSION + 1)
    with pytest.raises(LoadError, match=f"speaks version {m.VERSION - 1}, expected {m.VERSION}"):
        await new(memory).start()


# Dying.


async def test_death_while_idle(instance: Instance, owner: Owner) -> None:
    changes = []
    instance.on_change = lambda instance: changes.append((instance.state, instance.ready))
    os.kill(instance.pid, signal.SIGKILL)
    started = time.monotonic()
    await gone(instance)
    assert time.monotonic() - started < 1.0
    assert instance.reason == "killed by SIGKILL (out of memory?)"
    assert changes == [(State.FAILED, False)]
    assert not instance.room(0)


async def test_death_while_executing_fails_what_began_and_returns_the_rest(instance: Instance, owner: Owner) -> None:
    before, deadly, *behind = payloads = [plain(owner), ask(owner, "kill"), plain(owner), plain(owner)]
    for payload in payloads:
        instance.execute(payload)
    await owner.heard(*payloads)
    assert owner.timings[before] is not None
    assert bytes(owner.answers[before.pendings[0]][0].outputs[0].data) == FOUR
    error = owner.errors[deadly.pendings[0]]
    assert error.code is ErrorCode.UNAVAILABLE
    assert error.message == (
        "Stub process 'm_0_0' is not healthy: killed by SIGKILL (out of memory?) while executing; "
        "last lines on stderr:\n  about to die"
    )
    assert owner.timings[deadly] is None
    assert owner.back == behind[::-1], "the last first, as each goes to the head of its queue"
    assert instance.load == 0
    owner.release()


async def test_what_it_said_before_it_died_is_heard_though_it_left_messages_unread(
    instance: Instance, owner: Owner
) -> None:
    first, deadly = plain(owner), ask(owner, "kill")
    instance.execute(first)
    instance.execute(deadly)
    await asyncio.sleep(0)
    instance._link._flush()
    unread = plain(owner)
    instance.execute(unread)
    instance._link._flush()
    time.sleep(0.3)  # the loop stands still meanwhile: reset, answer and end are there at once
    await owner.heard(first, deadly, unread)
    assert owner.timings[first] is not None
    assert list(owner.errors) == deadly.pendings
    assert owner.back == [unread]
    owner.release()


async def test_of_a_batch_only_the_unanswered_fail(instance: Instance, owner: Owner) -> None:
    payload = make_payload(owner, make_request(floats("A", FOUR)), make_request(parameters={"do": "exit"}))
    instance.execute(payload)
    await owner.heard(payload)
    answered, failed = payload.pendings
    assert list(owner.answers) == [answered]
    assert "exited with status 5 while executing" in owner.errors[failed].message
    owner.release()


async def test_a_late_lease_keeps_the_bytes(memory: RequestMemory, owner: Owner) -> None:
    instance = await ready(memory)
    payload = plain(owner)
    instance.execute(payload)
    await owner.heard(payload)
    os.kill(instance.pid, signal.SIGKILL)
    await gone(instance)
    del instance
    gc.collect()
    [response] = owner.answers[payload.pendings[0]]
    assert bytes(response.outputs[0].data) == FOUR
    response.release()


async def test_a_closed_channel_is_an_end(instance: Instance, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end, "END_GRACE", 0.05)
    payload = ask(owner, "close")
    instance.execute(payload)
    await owner.heard(payload)
    assert "it closed its channel while executing" in owner.errors[payload.pendings[0]].message


async def test_a_stopped_process_is_killed(instance: Instance, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end, "TERM_GRACE", 0.1)
    stopped, waiting = ask(owner, "stop"), plain(owner)
    instance.execute(stopped)
    instance.execute(waiting)
    while psutil.Process(instance.pid).status() != psutil.STATUS_STOPPED:
        await asyncio.sleep(0.01)
    await instance.stop(0.1)
    assert instance.gone
    assert instance.state is State.EXITED
    assert "it did not end within 0.1 s while executing" in owner.errors[stopped.pendings[0]].message
    assert owner.back == [waiting]


async def test_a_finalize_that_hangs_is_killed(memory: RequestMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end, "TERM_GRACE", 0.1)
    instance = await ready(memory, finalize="hang")
    await asyncio.gather(instance.stop(0.1), instance.stop(0.1))
    assert instance.state is State.EXITED


async def test_an_owner_that_raises_harms_nobody_else(
    instance: Instance, owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Owner):
        def answered(self, *arguments: object) -> None:
            raise RuntimeError("a bug")

    broken = make_payload(Broken(), make_request(floats("A", FOUR)))
    fine = plain(owner)
    instance.execute(broken)
    instance.execute(fine)
    await owner.heard(fine)
    assert owner.timings[fine] is not None
    assert "a bug" in caplog.text
    owner.release()


# Garbage.


def response(code: int, layout: bytes, windows: tuple[int, ...], extras: bytes = b"") -> bytes:
    return m.pack_response(KEY, code, m.FINAL, layout, windows, extras)


GARBAGE = {
    "not a record": b"\xff" * 3,
    "unknown kind": m.record(99, b"abcd"),
    "the server's kind": m.record(m.EXECUTE, bytes(16)),
    "longer than the message": struct.pack("<II", m.RESPONSE, 1000) + bytes(40),
    "cut in a response": struct.pack("<II", m.RESPONSE, 8) + bytes(8),
    "response that ends elsewhere": m.record(m.RESPONSE, bytes(64)),
    "huge number of tensors": m.record(m.RESPONSE, struct.pack("<QBBHII4x", KEY, 255, 1, 65535, 0, 0)),
    "unknown key": m.pack_response(12345, m.OK, m.FINAL, b"", ()),
    "row that is not there": m.pack_response((1 << 16) + 7, m.OK, m.FINAL, b"", ()),
    "broken layout": response(m.OK, b"\x01\x00\x00\x00\xff\xff\x0b\x02", (4096, 4)),
    "window past the arena": response(m.OK, X, (1 << 40, 4)),
    "window that overflows": response(m.OK, X, (2**64 - 2, 4)),
    "window of another size": response(m.OK, X, (4096, 8)),
    "more windows than outputs": response(m.OK, X, (4096, 4, 4096, 4)),
    "outputs without windows": response(m.OK, m.pack_layout(m.Layout((("X", "FP32", (2**63, 2**63)),))), (4096, 16)),
    "extras that are no JSON": response(m.OK, b"", (), b"{"),
    "extras of nested lists": response(m.OK, b"", (), b"[" * 50_000),
    "parameters that are no scalars": response(m.OK, b"", (), b'{"parameters": {"a": []}}'),
    "error without message": response(1, b"", (), b"{}"),
    "unknown error code": response(77, b"", (), b'{"message": "x"}'),
    "unknown payload": m.pack_executed(999, 0, 0, 0, 0),
    "unknown payload answered": m.pack_answered(999, 999 << 16, m.pack_layout(m.Layout(())), (), 0, 0, 0, 0),
    "short answered": m.record(m.ANSWERED, bytes(8)),
    "more answers than requests": m.pack_rows(KEY, 2, X, 4096, 4),
    "answers to nobody": m.pack_rows(12345 << 16, 1, X, 4096, 4),
    "answers past the arena": m.pack_rows(KEY, 1, X, 1 << 40, 4),
    "answers of another size": m.pack_rows(KEY, 1, X, 4096, 8),
    "answers without outputs": m.pack_rows(KEY, 1, m.pack_layout(m.Layout(())), 4096, 4),
    "no answers": m.pack_rows(KEY, 0, X, 4096, 4),
    "short executed": m.record(m.EXECUTED, bytes(8)),
    "out of turn": m.pack_json(m.LOADED, {"config": None}),
    "finalized unasked": m.pack_json(m.FINALIZED, {}),
    "log without level": m.pack_json(m.LOG, {"message": "x"}),
    "endless parts": struct.pack("<II", 0xFFFF0001, 5) + b"abc",
}


@pytest.mark.parametrize("what", GARBAGE, ids=str)
async def test_a_stub_that_talks_nonsense_is_killed(instance: Instance, owner: Owner, what: str) -> None:
    fine, bad, behind = plain(owner), ask(owner, "raw", hex=GARBAGE[what].hex()), plain(owner)
    if "row" in what:
        fine = plain(owner)  # so that key 1 << 16 is that of a payload of one request
    instance.execute(fine)
    await owner.heard(fine)
    instance.execute(bad)
    instance.execute(behind)
    await owner.heard(bad, behind)
    error = owner.errors[bad.pendings[0]]
    assert error.code is ErrorCode.UNAVAILABLE
    assert "killed by the server: it sent what is no message" in error.message
    assert owner.back == [behind]
    assert instance.state is State.FAILED
    owner.release()


@pytest.mark.parametrize("what", ["double_answer", "double_executed"])
async def test_saying_it_twice_is_nonsense(instance: Instance, owner: Owner, what: str) -> None:
    payload = ask(owner, what)
    instance.execute(payload)
    await gone(instance)
    assert "it sent what is no message" in instance.reason
    assert len(owner.answers[payload.pendings[0]]) == 1


# Floods.


async def test_a_flood_of_lines_is_dropped_and_counted(
    instance: Instance, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    payload = ask(owner, "print", text="x" * 99 + "\n", times=200_000)  # 20 MB
    started = time.monotonic()
    instance.execute(payload)
    await owner.heard(payload)
    assert time.monotonic() - started < 10.0
    await instance.stop(5.0)
    logged = [record for record in caplog.records if getattr(record, "stream", "") == "stdout"]
    dropped = [int(text.split()[2]) for record in caplog.records if "dropped" in (text := record.getMessage())]
    assert 2000 <= len(logged) < 20_000
    assert len(logged) - len(dropped) + 1 + sum(dropped) >= 200_000


async def test_a_line_without_end_is_cut(instance: Instance, owner: Owner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    payload = ask(owner, "print", text="x" * 1000, times=20_000)
    instance.execute(payload)
    await owner.heard(payload)
    await instance.stop(5.0)
    [record] = [record for record in caplog.records if getattr(record, "stream", "") == "stdout"]
    assert record.getMessage().endswith("xxx ... (cut)")
    assert len(record.getMessage()) < 9000


async def test_a_flood_of_log_records_is_bounded_too(
    instance: Instance, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    payload = ask(owner, "log", times=20_000, message="two\nlines")
    instance.execute(payload)
    await owner.heard(payload)
    logged = [record.getMessage() for record in caplog.records if record.name == "pyserver.model"]
    assert 2000 <= len(logged) < 10_000
    assert set(logged) == {"m/1 m_0_0: model.py:8: two\\x0alines"}
