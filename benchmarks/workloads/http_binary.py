"""REST with the binary extension: from a request that is all overhead to one that is all bytes."""

from benchmarks.workloads.workload import Workload, floats

WORKLOADS = [
    Workload("http-bin-small", "REST binary, 16 FP32, 16 connections", "http", "binary", "identity_fp32", floats(16)),
    Workload(
        "http-bin-small-1", "REST binary, 16 FP32, 1 connection", "http", "binary", "identity_fp32", floats(16), 1
    ),
    Workload("http-bin-1mb", "REST binary, 1 MB, 4 connections", "http", "binary", "identity_fp32", floats(1 << 18), 4),
    Workload(
        "http-bin-16mb", "REST binary, 16 MB, 1 connection", "http", "binary", "identity_fp32", floats(1 << 22), 1
    ),
]
