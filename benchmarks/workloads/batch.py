"""Batching: a model that takes 5 ms for up to 64 rows, a queue delay of 2 ms. Ideal are 12,800 requests/s."""

from benchmarks.workloads.workload import Workload, floats

WORKLOADS = [
    Workload(
        "batch-64", "batches of 5 ms, REST binary, 64 connections", "http", "binary", "batch_fp32", floats(16), 64
    ),
    Workload(
        "batch-128", "batches of 5 ms, REST binary, 128 connections", "http", "binary", "batch_fp32", floats(16), 128
    ),
    Workload(
        "batch-json-64", "batches of 5 ms, REST JSON, 64 connections", "http", "json", "batch_fp32", floats(16), 64
    ),
    Workload("batch-grpc-64", "batches of 5 ms, gRPC, 4 x 16 calls", "grpc", "proto", "batch_fp32", floats(16), 4, 16),
    Workload("batch-grpc-128", "batches of 5 ms, gRPC, 8 x 16 calls", "grpc", "proto", "batch_fp32", floats(16), 8, 16),
]
