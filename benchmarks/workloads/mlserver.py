"""MLServer's models: a custom runtime on arrays and a scikit-learn model, from the same folder on both servers.

Beside MLServer at least 5 times its requests/s at 16 connections and at most half its p50 at one are expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.mlserver_folder import FEATURES, doubled, predicted
from benchmarks.workloads.workload import Array, Workload, floats

_MODELS = (("mlserver_numpy", "custom runtime", 16, doubled), ("mlserver_sklearn", "scikit-learn", FEATURES, predicted))
_LOADS = (
    ("json", "REST JSON, 16 connections", "http", "json", 16, 1),
    ("json-1", "REST JSON, 1 connection", "http", "json", 1, 1),
    ("grpc", "gRPC, 16 connections", "grpc", "proto", 16, 1),
    ("grpc-1", "gRPC, 1 connection", "grpc", "proto", 1, 1),
)


def _workload(model: str, what: str, width: int, answer: Callable[[Array], Array], load: Sequence[Any]) -> Workload:
    name, title, protocol, form, connections, streams = load
    return Workload(
        f"{model}-{name}".replace("_", "-"), f"MLServer's {what}, {width} FP32, {title}", protocol, form, model,
        floats(width), connections, streams, answer,
    )  # fmt: skip


WORKLOADS = [_workload(*model, load) for model in _MODELS for load in _LOADS]
