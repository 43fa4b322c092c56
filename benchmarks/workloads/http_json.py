"""REST with JSON, what most clients send first; and strings."""
# ruff: noqa: E501 (a table)

from benchmarks.workloads.workload import Workload, floats, strings

WORKLOADS = [
    Workload("http-json-small", "REST JSON, 16 FP32, 16 connections", "http", "json", "identity_fp32", floats(16)),
    Workload("http-json-100k", "REST JSON, 100k FP32, 1 connection", "http", "json", "identity_fp32", floats(100_000), 1),
    Workload("http-bytes-10k", "REST binary, 10k strings, 1 connection", "http", "binary", "identity_bytes", strings(10_000), 1),
    Workload("http-json-bytes-10k", "REST JSON, 10k strings, 1 connection", "http", "json", "identity_bytes", strings(10_000), 1),
]  # fmt: skip
