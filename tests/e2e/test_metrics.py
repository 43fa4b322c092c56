"""The metrics of a real server: which families there are, by which flag, and that they tell the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Serve
from tests.support.clients import infer_json, tensor
from tests.support.decoupled import REPEAT, listening, write_decoupled
from tests.support.repositories import CONSTANT, CONSTANT_CONFIG, write_constant, write_model
from tools.process import ServerProcess

ASKED = {"inputs": [tensor("ASKED", "BOOL", [1], [True])]}
DURATIONS = ("request", "queue", "compute_input", "compute_infer", "compute_output")
BUCKETS = """
model_metrics { metric_control {
  metric_identifier { family: "nv_inference_first_response_histogram_ms" }
  histogram_options { buckets: [ 0.001, 60000 ] } } }
"""


def families(server: ServerProcess) -> dict[str, Any]:
    status, body = server.get("/metrics", server.metrics)
    assert status == 200
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


@pytest.mark.ours
def test_the_usual_families(server: ServerProcess) -> None:
    found = families(server)
    for name in DURATIONS:
        assert f"nv_inference_{name}_duration_us" in found
    assert not [name for name in found if "summary" in name or "histogram" in name]
    for name in ("nv_cpu_utilization", "nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes"):
        assert found[name].samples[0].value >= 0
    for name in ("nv_pinned_memory_pool_total_bytes", "nv_pinned_memory_pool_used_bytes"):
        assert [sample.value for sample in found[name].samples] == [0]
    memory = {each.labels["instance"]: each.value for each in found["pyserver_instance_memory_bytes"].samples}
    assert memory["add_sub_0_0"] > 5_000_000
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        assert not [name for name in found if name.startswith("nv_gpu")]
        assert "no metrics of GPUs: " in server.log


@pytest.mark.ours
def test_what_the_flags_add_and_take_away(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "constant")
    write_model(tmp_path, "cached", CONSTANT.format(value=1), CONSTANT_CONFIG + "response_cache { enable: true }")
    write_decoupled(tmp_path, "repeat", REPEAT, BUCKETS)
    server = serve(
        tmp_path,
        options=(
            "--metrics-config=summary_latencies=true", "--metrics-config", "histogram_latencies=true",
            "--metrics-config=counter_latencies=false", "--metrics-config", "summary_quantiles=0.5:0.05,0.9:0.01",
            "--allow-cpu-metrics=false", "--allow-gpu-metrics", "0", "--cache-config", "local,size=100000",
        ),
    )  # fmt: skip
    for _ in range(3):
        assert infer_json(server, "constant", ASKED).status == 200
        assert infer_json(server, "cached", ASKED).status == 200
    infer_json(server, "constant", {"inputs": [tensor("ASKED", "INT8", [1], [1])]})
    with listening(server) as stream:
        stream.ask("repeat", 1, 2)
        stream.take(2)
    found = families(server)
    assert not [name for name in found if name.endswith("_duration_us") or name.startswith("nv_cpu")]
    assert "no metrics of GPUs" not in server.log
    for part in DURATIONS:
        samples = {
            (each.name, each.labels["model"], each.labels.get("quantile")): each.value
            for each in found[f"nv_inference_{part}_summary_us"].samples
        }
        name = f"nv_inference_{part}_summary_us"
        assert samples[f"{name}_count", "constant", None] == 3
        median, most = samples[name, "constant", "0.5"], samples[name, "constant", "0.9"]
        assert 0 <= median <= most <= samples[f"{name}_sum", "constant", None]
        assert ((f"{name}_count", "cached", None) in samples) == (part != "request")
    counts = {each.name: each.value for name in ("hit", "miss") for each in
              found[f"nv_cache_{name}_summary_per_model"].samples if each.name.endswith("count")}  # fmt: skip
    assert counts == {"nv_cache_hit_summary_per_model_count": 2, "nv_cache_miss_summary_per_model_count": 1}
    first = found["nv_inference_first_response_histogram_ms"].samples
    assert {each.labels["model"] for each in first} == {"repeat"}
    assert [(each.labels["le"], each.value) for each in first if "le" in each.labels] == [
        ("0.001", 0), ("60000", 1), ("+Inf", 1),
    ]  # fmt: skip
