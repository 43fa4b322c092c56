"""REST with JSON, what most clients send first; and strings."""
# ruff: noqa: E501 (a table)

from benchmarks.workloads.workload import Workload, floats, strings

WORKLOADS = [
    Workload("http-json-small", "REST JSON, 16 FP32, 16 connections", "http", "json", "identity_fp32", floats(16)),
    Workload("http-json-100k", "REST JSON, 100k FP32, 4 connections", "http", "json", "identity_fp32", floats(100_000), 4),
    Workload("http-bytes-10k", "REST binary, 10k strings, 4 connections", "http", "binary", "identity_bytes", strings(10_000), 4),
    Workload("http-json-bytes-10k", "REST JSON, 10k strings, 4 connections", "http", "json", "identity_bytes", strings(10_000), 4),
]  # fmt: skip
