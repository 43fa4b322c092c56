"""The metrics port."""

import os
import socket
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import AsyncHTTPClient

from pyserver.cache.cache import Counters
from pyserver.errors import ServerError
from pyserver.frontend.host import Host
from pyserver.frontend.metrics import MetricsServer
from pyserver.model.custom_metrics import FamilySample
from pyserver.model.statistics import Statistics
from pyserver.settings import Settings


class DataPlane:
    """One model, as the real one shows it."""

    def __init__(self):
        self.statistics = Statistics()

    def models(self):
        model = SimpleNamespace(
            statistics=self.statistics, load_seconds=0.5,
            scheduler=SimpleNamespace(waiting=3, waiting_bytes=48, running=1),
            memory=None, latencies=None,
            instances=[SimpleNamespace(
                spec=SimpleNamespace(name="m_0_0"), restarts=2, instance=SimpleNamespace(pid=os.getpid())
            )],
            config=SimpleNamespace(metric_tags={"zone": "z"}), cached=None,
        )  # fmt: skip
        return [("m", 2, model)]

    def models_of_mlserver(self):
        return []

    def cache(self):
        return Counters(size=100, used=25)

    def custom_metrics(self):
        return [FamilySample("mine", "counter", "a\nb", [({}, (), (2.5,))])]


@pytest.fixture
async def server():
    made = MetricsServer(DataPlane(), Settings(metrics_port=0))
    await made.start()
    yield made
    await made.drain(1)


async def fetch(server, path, **options):
    client = AsyncHTTPClient(force_instance=True)
    try:
        return await client.fetch(f"http://127.0.0.1:{server.port}{path}", raise_error=False, **options)
    finally:
        client.close()


async def test_the_page(server):
    answer = await fetch(server, "/metrics")
    assert (answer.code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    found = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    (pending,) = found["nv_inference_pending_request_count"].samples
    assert (pending.labels, pending.value) == ({"model": "m", "version": "2", "zone": "z"}, 3)
    (used,) = found["nv_cache_util"].samples
    assert used.value == 0.25
    assert {"mine", "nv_inference_pending_request_count"} <= set(found)
    assert found["nv_cpu_memory_total_bytes"].samples[0].value > 0


@pytest.mark.parametrize("path", ["/", "/metrics/", "/v2", "/metricsx"])
async def test_nothing_else_is_here(server, path):
    assert (await fetch(server, path)).code == 404


async def test_only_get(server):
    assert (await fetch(server, "/metrics", method="POST", body=b"")).code == 405


async def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"Socket '127.0.0.1:{port}' already in use"):
            await MetricsServer(DataPlane(), Settings(metrics_port=port)).start()


def test_the_address_is_the_http_one_unless_given():
    assert MetricsServer(DataPlane(), Settings(http_address="::1")).address == "::1"
    assert MetricsServer(DataPlane(), Settings(metrics_address="127.0.0.2")).address == "127.0.0.2"


def test_utilization_is_of_the_last_interval(tmp_path):
    now = 0

    def write(busy, idle):
        (tmp_path / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\n")

    write(100, 100)
    (tmp_path / "meminfo").write_text("MemTotal: 10 kB\nMemAvailable: 4 kB\n")
    host = Host(2000, lambda: now, tmp_path)
    assert host.sample() == (0.0, 10240, 6144)
    write(130, 110)
    assert host.sample().cpu == 0.0
    now = 2_000_000_000
    assert host.sample().cpu == 0.75
    write(130, 210)
    assert host.sample().cpu == 0.75
    now = 4_000_000_000
    assert host.sample().cpu == 0.0
