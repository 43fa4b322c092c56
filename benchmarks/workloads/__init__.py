"""The table of what is measured; one module for each kind of request."""

from benchmarks.workloads import batch, grpc, http_binary, http_json, mlserver
from benchmarks.workloads.workload import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload for kind in (http_binary, http_json, grpc, batch, mlserver) for workload in kind.WORKLOADS
}
SHORT = ("http-bin-small", "http-json-small", "grpc-small", "http-bin-1mb")
"""What `make bench` measures."""
