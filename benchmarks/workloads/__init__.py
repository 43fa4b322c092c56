"""The table of what is measured; one module for each kind of request."""

from benchmarks.workloads import batch, grpc, http_binary, http_json
from benchmarks.workloads.workload import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in [*http_binary.WORKLOADS, *http_json.WORKLOADS, *grpc.WORKLOADS, *batch.WORKLOADS]
}
SHORT = ("http-bin-small", "http-json-small", "grpc-small", "http-bin-1mb")
"""What `make bench` measures."""
