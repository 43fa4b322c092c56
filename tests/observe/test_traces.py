"""Settings of traces, which requests are taken, and the files: all but what needs a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.errors import ServerError
from pyserver.observe.tensors import shown
from pyserver.observe.trace_settings import Startup, TraceSetting, from_flags
from pyserver.observe.traces import Sampler, Traces, is_traceparent
from pyserver.settings import Settings
from pyserver.types import Tensor

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def startup(*entries: str, **fields: Any) -> Startup:
    return from_flags(Settings(trace_config=entries, **fields))


def test_what_the_flags_say() -> None:
    assert startup() == Startup()
    found = startup("level=TIMESTAMPS", "rate=5", "count=7", "triton,file=/t", "triton,log-frequency=3")
    assert found.setting == TraceSetting(("TIMESTAMPS",), 5, 7, 3, "/t")
    assert startup(trace_file="/t", trace_level=("TENSORS",), trace_rate=5).setting.trace_level == ("TENSORS",)
    remote = startup("mode=opentelemetry", "opentelemetry,url=http://x", "opentelemetry,resource=a=b=c", "level=OFF")
    assert remote == Startup(TraceSetting(trace_mode="opentelemetry"), {"url": "http://x"}, {"a": "b=c"})


@pytest.mark.parametrize("entry", ["level", "odd=1", "odd,file=x", "triton,odd=x", "rate=x", "mode=odd", "level=MIN"])
def test_what_the_flags_may_not_say(entry: str) -> None:
    with pytest.raises(ServerError):
        startup(entry)


@given(st.integers(1, 7), st.integers(-1, 20), st.integers(0, 100))
def test_each_nth_is_taken_until_there_are_enough(rate: int, count: int, asked: int) -> None:
    sampler = Sampler(TraceSetting(("TIMESTAMPS",), rate, count))
    taken = [number for number in range(1, asked + 1) if sampler.takes(False)]
    every = [number for number in range(1, asked + 1) if number % rate == 0]
    assert taken == (every if count < 0 else every[:count])


def test_a_models_setting_follows_that_of_all_in_what_it_does_not_say() -> None:
    traces = Traces(startup("triton,file=/t"))
    assert not traces.on
    traces.update("m", {"trace_level": ["TIMESTAMPS"], "trace_rate": "2"})
    assert traces.on
    traces.update("", {"trace_count": "5", "trace_rate": "9"})
    assert (traces.setting("m").trace_rate, traces.setting("m").trace_count) == (2, 5)
    assert (traces.setting("").trace_rate, traces.setting("x").trace_rate) == (9, 9)
    traces.update("m", {"trace_rate": None})
    assert traces.setting("m").trace_rate == 9
    traces.update("", {"trace_rate": None})
    assert traces.setting("m").trace_rate == 1000
    traces.update("m", {"trace_level": None})
    assert not traces.on
    with pytest.raises(ServerError):
        traces.update("m", {"trace_level": ["TIMESTAMPS"], "trace_rate": "x"})
    assert traces.setting("m").trace_level == ("OFF",)


def test_files_that_can_not_be_written_stop_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    traces = Traces(startup("level=TIMESTAMPS", "rate=1", f"triton,file={tmp_path}/no/where"))
    for _ in range(2):
        trace = traces.sample("m", "1", "")
        assert trace is not None
        trace.begin([])
        trace.ended("it failed")
    traces.close()
    assert caplog.text.count("traces can't be written") == 1


def test_a_file_is_an_array_of_traces(tmp_path: Path) -> None:
    traces = Traces(startup("level=TIMESTAMPS", "rate=1", "triton,log-frequency=2", f"triton,file={tmp_path}/t"))
    for number in range(3):
        trace = traces.sample("m", "1", str(number))
        assert trace is not None
        trace.begin([])
        trace.executed(1, 2, 3, 4, 5)
        assert not number or traces.running(trace.id) is trace
        trace.ended()
    traces.close()
    first, second = (json.loads((tmp_path / f"t.{at}").read_text()) for at in range(2))
    assert [entry["id"] for entry in first] == [1, 1, 2, 2]
    assert second[0] == {"id": 3, "model_name": "m", "model_version": 1, "request_id": "2"}
    assert second[1]["timestamps"][:2] == [{"name": "QUEUE_START", "ns": 1}, {"name": "COMPUTE_START", "ns": 2}]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (GOOD, True),
        (GOOD.upper(), False),
        (GOOD.replace("00-", "ff-", 1), False),
        (GOOD.replace("b7ad6b7169203331", "0" * 16), False),
        (GOOD + "-x", False),
        (GOOD.replace("a", "+"), False),
        ("", False),
    ],
)
def test_traceparents(text: str, good: bool) -> None:
    assert is_traceparent(text) is good


@pytest.mark.parametrize(
    ("datatype", "data", "text"),
    [
        ("FP32", np.array([1.5, -2], "<f4").tobytes(), "1.5,-2"),
        ("FP16", np.array([0.5], "<f2").tobytes(), "0.5"),
        ("BF16", b"\x80\x3f\x00\xc0", "1,-2"),
        ("INT64", np.array([-(2**63)], "<i8").tobytes(), str(-(2**63))),
        ("BOOL", b"\x01\x00", "1,0"),
        ("BYTES", b"\x02\x00\x00\x00a,\x01\x00\x00\x00\xff", '"a,","\\\\xff"'),
        ("UINT8", b"", ""),
    ],
)
def test_tensors_as_text(datatype: str, data: bytes, text: str) -> None:
    found = shown(Tensor("T", datatype, (2, 1), data))
    assert found == {"name": "T", "data": text, "shape": "2,1", "dtype": datatype}
