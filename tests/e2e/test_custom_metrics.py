"""What a model asks of the server beside inference: metrics of its own, other models' loading, its readiness."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask, constant, infer_json, tensor
from tests.support.repositories import write_constant, write_model
from tools import proc
from tools.process import ServerProcess

CONFIG = """
backend: "python"
{extra}
input {{ name: "IN" data_type: TYPE_STRING dims: [ 1 ] }}
output {{ name: "OUT" data_type: TYPE_STRING dims: [ -1 ] }}
"""
HEAD = """
import asyncio, os, time
import numpy as np
import triton_python_backend_utils as pb_utils


def answer(*values):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(values, dtype=object))])


class TritonPythonModel:
    def execute(self, requests):
        said = []
        for request in requests:
            what = request.inputs()[0].as_numpy()[0].decode()
            said.append(answer(*getattr(self, what)()))
        return said
"""
COUNTING = (
    HEAD
    + """
    def initialize(self, args):
        family = self.counts = pb_utils.MetricFamily("requests_seen", "What was\\nseen", pb_utils.MetricFamily.COUNTER)
        self.count = family.Metric(labels={"model": args["model_name"], "quote": 'a"b'})
        self.gauges = pb_utils.MetricFamily("level", "A level", pb_utils.MetricFamily.GAUGE)
        self.gauge = self.gauges.Metric()
        self.times = pb_utils.MetricFamily("took", "Times", pb_utils.MetricFamily.HISTOGRAM)
        self.took = self.times.Metric(labels={"a": "b"}, buckets=[0.1, 1, 10])

    def seen(self):
        self.count.increment(1)
        return ["done"]

    def crash(self):
        self.count.increment(1)
        os._exit(3)

    def all(self):
        self.count.increment(2.5)
        self.gauge.set(7)
        self.gauge.increment(-2)
        for value in (0.1, 0.5, 1, 50):
            self.took.observe(value)
        same = pb_utils.MetricFamily("requests_seen", "other words", pb_utils.MetricFamily.COUNTER)
        again = same.Metric(labels={"quote": 'a"b', "model": "counting"})
        again.increment(0.5)
        return [str(self.count.value()), str(again.value()), str(self.gauge.value())]

    def wrong(self):
        F = pb_utils.MetricFamily
        def deleted():
            family = F("gone_soon", "", F.COUNTER)
            metric = family.Metric()
            del family
            metric.increment(1)
        cases = [
            lambda: self.count.increment(-1), lambda: self.count.set(1), lambda: self.gauge.observe(1),
            lambda: self.took.value(), lambda: self.count.increment("x"), lambda: self.count.increment(float("nan")),
            lambda: F("requests_seen", "", F.GAUGE), lambda: F("1 name", "", F.GAUGE), lambda: F("a", "b", 0),
            lambda: self.counts.Metric(labels=["a"]), lambda: self.counts.Metric(labels={"a": 1}),
            lambda: self.counts.Metric(buckets=[1]), lambda: self.times.Metric(),
            lambda: self.times.Metric(buckets=[2, 1]), deleted,
            lambda: pb_utils.is_model_ready("counting", "abc"), lambda: pb_utils.load_model("unknown"),
        ]
        said = []
        for case in cases:
            try:
                said.append(str(case()))
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")
        return said
"""
)
CONTROLLING = (
    HEAD
    + """
    def control(self):
        said = [pb_utils.is_model_ready("constant"), pb_utils.is_model_ready("constant", "1"),
                pb_utils.is_model_ready("constant", "2"), pb_utils.is_model_ready("unknown")]
        pb_utils.unload_model("constant")
        said.append(pb_utils.is_model_ready("constant"))
        pb_utils.load_model("constant")
        said.append(pb_utils.is_model_ready("constant"))
        pb_utils.unload_model("unknown")
        return [str(each) for each in said]
"""
)
PROBED = (
    HEAD
    + """
    async def is_ready(self):
        print("probed", flush=True)
        await asyncio.sleep(0.3)
        folder = os.path.dirname(pb_utils.get_model_dir())
        if os.path.exists(os.path.join(folder, "broken")):
            return "yes"
        if os.path.exists(os.path.join(folder, "raising")):
            raise ValueError("not now")
        return not os.path.exists(os.path.join(folder, "busy"))

    def sleep(self):
        time.sleep(2)
        return ["slept"]
"""
)


def say(server: ServerProcess, model: str, what: str) -> Answer:
    return infer_json(server, model, {"inputs": [tensor("IN", "BYTES", [1], [what])]})


def said(server: ServerProcess, model: str, what: str) -> list[str]:
    answer = say(server, model, what)
    assert answer.status == 200, answer
    found: list[str] = answer.json["outputs"][0]["data"]
    return found


def metrics(server: ServerProcess) -> dict[str, float]:
    import urllib.request

    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as page:
        lines = page.read().decode().splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs if not name.startswith(("nv_", "pyserver_"))}


SEEN = 'requests_seen{model="counting",quote="a\\"b"}'


@pytest.fixture(scope="module")
def counting(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("metrics")
    write_model(repository, "counting", COUNTING, CONFIG.format(extra=""))
    write_model(repository, "controlling", CONTROLLING, CONFIG.format(extra=""))
    write_constant(repository, "constant", 5)
    with make_server(repository, options=("--model-control-mode=explicit", "--load-model=*")) as running:
        yield running


def test_counter_gauge_and_histogram(counting: ServerProcess) -> None:
    assert said(counting, "counting", "all") == ["3.0", "3.0", "5.0"]
    assert metrics(counting) == {
        SEEN: 3, "level": 5,
        'took_bucket{a="b",le="0.1"}': 1, 'took_bucket{a="b",le="1"}': 3, 'took_bucket{a="b",le="10"}': 3,
        'took_bucket{a="b",le="+Inf"}': 4, 'took_sum{a="b"}': 51.6, 'took_count{a="b"}': 4,
    }  # fmt: skip


@pytest.mark.ours
def test_mistakes_are_exceptions_and_kill_nobody(counting: ServerProcess) -> None:
    found = said(counting, "counting", "wrong")
    expected = [
        "TritonModelException: Failed to increment metric value", "TritonModelException: Failed to set metric value",
        "TritonModelException: Failed to observe metric value", "does not support Value", "TypeError",
        "not a finite number", "Family name already exists with different type", "Invalid metric name", "TypeError",
        "Labels must be a dictionary.", "attempt to access JSON non-string as string", "Unexpected buckets found.",
        "Missing required buckets.", "must be strictly sorted", "has been deleted", "False",
        "TritonModelException: failed to load 'unknown'",
    ]  # fmt: skip
    assert len(found) == len(expected)
    for text, part in zip(found, expected, strict=True):
        assert part in text
    assert said(counting, "counting", "seen") == ["done"]


def test_loading_and_unloading(counting: ServerProcess) -> None:
    assert said(counting, "controlling", "control") == ["True", "True", "False", "False", "False", "True"]
    assert constant(counting, "constant") == 5


@pytest.mark.ours
def test_counters_are_exact_over_deaths_and_gauges_vanish(serve: Serve, tmp_path: Path) -> None:
    """Four instances, two of which die: by a signal between requests, and in the middle of one."""
    write_model(tmp_path, "counting", COUNTING, CONFIG.format(extra="instance_group { count: 4 }"))
    server = serve(tmp_path)
    assert said(server, "counting", "all")
    assert metrics(server)["level"] == 5
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: say(server, "counting", "seen").status, range(300)))
        killed = proc.stubs(server.pid)
        os.kill(killed[0], signal.SIGSTOP)
        os.kill(killed[0], signal.SIGKILL)
        answers += list(pool.map(lambda _: say(server, "counting", "seen").status, range(300)))
        assert say(server, "counting", "crash").status == 503
        answers += list(pool.map(lambda _: say(server, "counting", "seen").status, range(300)))
    assert set(answers) <= {200, 503}
    count = metrics(server)[SEEN]
    assert answers.count(200) + 1 + 3 <= count <= len(answers) + 1 + 3
    for stub in proc.stubs(server.pid):
        os.kill(stub, signal.SIGKILL)
    server.wait_until(lambda: metrics(server).get("level", -1) in {0, -1}, 20, "to forget a dead instance's gauge")
    assert metrics(server)[SEEN] == count


@pytest.mark.ours
def test_is_ready(serve: Serve, tmp_path: Path) -> None:
    folder = write_model(tmp_path, "probed", PROBED, CONFIG.format(extra=""))
    write_constant(tmp_path, "constant", 5)
    server = serve(tmp_path)

    def ready(_: int = 0) -> bool:
        return ask(server, "GET", "/v2/models/probed/ready").status == 200

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ready, range(8)))
        probes = len(server.wait_lines(1, ": probed"))
        assert 1 <= probes <= 3
        # It need not wait for what the model executes.
        sleeping = pool.submit(said, server, "probed", "sleep")
        time.sleep(0.1)
        assert ready()
        assert not sleeping.done()
        assert sleeping.result() == ["slept"]
    for name in ("busy", "broken", "raising"):
        (folder / name).touch()
        assert not ready(), name
        (folder / name).unlink()
    server.wait_log("is_ready must return a bool")
    server.wait_log("ValueError: not now")
    assert ready()
    assert said(server, "probed", "sleep")
