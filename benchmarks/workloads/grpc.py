"""gRPC: one call at a time, many, and large ones."""

from benchmarks.workloads.workload import Workload, floats

WORKLOADS = [
    Workload("grpc-small-1", "gRPC, 16 FP32, 1 call at a time", "grpc", "proto", "identity_fp32", floats(16), 1, 1),
    Workload("grpc-small", "gRPC, 16 FP32, 16 calls at a time", "grpc", "proto", "identity_fp32", floats(16), 2, 8),
    Workload("grpc-small-64", "gRPC, 16 FP32, 64 calls at a time", "grpc", "proto", "identity_fp32", floats(16), 4, 16),
    Workload("grpc-1mb", "gRPC, 1 MB, 4 calls at a time", "grpc", "proto", "identity_fp32", floats(1 << 18), 2, 2),
]
