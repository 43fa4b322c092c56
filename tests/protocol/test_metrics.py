"""The metrics page, read back by Prometheus' own parser."""

import dataclasses
import math

from prometheus_client.parser import text_string_to_metric_families

from pyserver.observe.gpu import GpuSample
from pyserver.protocol import metrics
from pyserver.protocol.metrics import ModelSample, render
from pyserver.protocol.metrics_host import HostSample, parse_cpu, parse_memory
from pyserver.protocol.metrics_latency import LatencySample, SummarySample

SAMPLE = ModelSample(
    model="m", version="2", success=5, failures={"BACKEND": 2}, inferences=9, executions=4, request_ns=5_000_999,
    queue_ns=1000, compute_input_ns=2000, compute_infer_ns=3000, compute_output_ns=4000, pending=7, load_seconds=1.25,
)  # fmt: skip


def read(page):
    """Families by name: type, and values by labels in the order in which they stand."""
    return {
        family.name: (family.type, {tuple(sample.labels.items()): sample.value for sample in family.samples})
        for family in text_string_to_metric_families(page.decode())
    }


def test_the_families_and_their_values():
    own = (("model", "m"), ("version", "2"))
    found = read(render([SAMPLE], HostSample(0.5, 1000, 400)))
    assert found == {
        "nv_inference_request_success": ("counter", {own: 5}),
        "nv_inference_request_failure": (
            "counter",
            {
                (("model", "m"), ("reason", reason), ("version", "2")): count
                for reason, count in {"REJECTED": 0, "CANCELED": 0, "BACKEND": 2, "OTHER": 0}.items()
            },
        ),
        "nv_inference_count": ("counter", {own: 9}),
        "nv_inference_exec_count": ("counter", {own: 4}),
        "nv_inference_request_duration_us": ("counter", {own: 5000}),
        "nv_inference_queue_duration_us": ("counter", {own: 1}),
        "nv_inference_compute_input_duration_us": ("counter", {own: 2}),
        "nv_inference_compute_infer_duration_us": ("counter", {own: 3}),
        "nv_inference_compute_output_duration_us": ("counter", {own: 4}),
        "nv_inference_pending_request_count": ("gauge", {own: 7}),
        "pyserver_pending_request_bytes": ("gauge", {own: 0}),
        "pyserver_running_batch_count": ("gauge", {own: 0}),
        "pyserver_request_memory_used_bytes": ("gauge", {own: 0}),
        "pyserver_instance_restarts": ("counter", {}),
        "pyserver_instance_memory_bytes": ("gauge", {}),
        "nv_pinned_memory_pool_total_bytes": ("gauge", {(): 0}),
        "nv_pinned_memory_pool_used_bytes": ("gauge", {(): 0}),
        "nv_model_load_duration_secs": ("gauge", {own: 1.25}),
        "nv_cpu_utilization": ("gauge", {(): 0.5}),
        "nv_cpu_memory_total_bytes": ("gauge", {(): 1000}),
        "nv_cpu_memory_used_bytes": ("gauge", {(): 400}),
    }


def test_names_are_tritons_to_the_letter():
    lines = render([SAMPLE]).decode().splitlines()
    assert 'nv_inference_request_success{model="m",version="2"} 5' in lines
    assert 'nv_inference_request_failure{model="m",reason="REJECTED",version="2"} 0' in lines
    assert not [line for line in lines if "_total{" in line or "_total " in line]
    assert not [line for line in lines if line.startswith("nv_cpu")]


def test_no_models():
    found = read(render([]))
    assert found["nv_inference_request_success"] == ("counter", {})
    assert render([]).endswith(b"\n")


def test_tags_and_odd_names():
    odd = ModelSample(model='a"b\\c\nd', version="1", tags={"zone": "é", "area": "x"})
    found = read(render([odd]))["nv_inference_count"][1]
    assert found == {(("area", "x"), ("model", 'a"b\\c\nd'), ("version", "1"), ("zone", "é")): 0}


def test_labels_are_in_alphabetical_order():
    assert metrics.labels({"version": "1", "model": "m", "reason": "OTHER"}) == (
        '{model="m",reason="OTHER",version="1"}'
    )


def test_the_kernels_tables():
    assert parse_cpu("cpu  10 1 5 70 14 0 0 0 3 3\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == (16, 100)
    assert parse_memory("MemTotal:  100 kB\nMemFree: 3 kB\nMemAvailable:  40 kB\n") == (102400, 61440)


def test_gpus_and_latencies():
    gpu = GpuSample("GPU-1", 0.25, 100, 40, math.nan, 300.5, 7.25)
    measured = LatencySample(
        {
            "queue": SummarySample(3, 12.5, [(0.5, 4.0), (0.999, 5.0)]),
            "cache_hit": SummarySample(0, 0, [(0.5, math.nan)]),
        },
        ((100.0, 500.0), (1, 0, 2, 6000.0)),
    )
    lines = render([dataclasses.replace(SAMPLE, latencies=measured)], gpus=[gpu], counter_latencies=False).decode()
    for line in (
        'nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25',
        'nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 40',
        'nv_gpu_power_usage{gpu_uuid="GPU-1"} NaN',
        'nv_energy_consumption{gpu_uuid="GPU-1"} 7.25',
        "# TYPE nv_inference_queue_summary_us summary",
        'nv_inference_queue_summary_us{model="m",quantile="0.999",version="2"} 5',
        'nv_inference_queue_summary_us_sum{model="m",version="2"} 12.5',
        'nv_inference_queue_summary_us_count{model="m",version="2"} 3',
        'nv_cache_hit_summary_per_model{model="m",quantile="0.5",version="2"} NaN',
        'nv_inference_first_response_histogram_ms_bucket{le="500",model="m",version="2"} 1',
        'nv_inference_first_response_histogram_ms_bucket{le="+Inf",model="m",version="2"} 3',
        'nv_inference_first_response_histogram_ms_sum{model="m",version="2"} 6000',
    ):
        assert line in lines.splitlines()
    assert "_duration_us" not in lines
