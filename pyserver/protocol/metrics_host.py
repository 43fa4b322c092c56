"""The machine's families of metrics: CPUs, memory, GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pyserver.observe.gpu import GpuSample
from pyserver.protocol.metrics_text import header, labels, number


class HostSample(NamedTuple):
    """The machine: `cpu` is the share of all cores in use, 0 to 1; memory in bytes."""

    cpu: float
    memory_total: int
    memory_used: int


class _GpuFamily(NamedTuple):
    name: str
    kind: str
    help: str
    value: Callable[[GpuSample], float]


_GPU_FAMILIES = (
    _GpuFamily("nv_gpu_utilization", "gauge", "GPU utilization [0.0 - 1.0].", lambda gpu: gpu.utilization),
    _GpuFamily("nv_gpu_memory_total_bytes", "gauge", "Memory of the GPU, in bytes.", lambda gpu: gpu.memory_total),
    _GpuFamily("nv_gpu_memory_used_bytes", "gauge", "Memory in use on it, in bytes.", lambda gpu: gpu.memory_used),
    _GpuFamily("nv_gpu_power_usage", "gauge", "Power that it draws, in watts.", lambda gpu: gpu.power_usage),
    _GpuFamily("nv_gpu_power_limit", "gauge", "Power that it may draw, in watts.", lambda gpu: gpu.power_limit),
    _GpuFamily("nv_energy_consumption", "counter", "Energy since the driver was loaded, in joules.",
               lambda gpu: gpu.energy),
)  # fmt: skip


def host_lines(host: HostSample) -> Iterator[str]:
    """The CPUs and the memory."""
    yield from header("nv_cpu_utilization", "gauge", "CPU utilization of the machine [0.0 - 1.0].")
    yield f"nv_cpu_utilization {host.cpu}"
    yield from header("nv_cpu_memory_total_bytes", "gauge", "Memory of the machine, in bytes.")
    yield f"nv_cpu_memory_total_bytes {host.memory_total}"
    yield from header("nv_cpu_memory_used_bytes", "gauge", "Memory in use on the machine, in bytes.")
    yield f"nv_cpu_memory_used_bytes {host.memory_used}"


def gpu_lines(gpus: Sequence[GpuSample]) -> Iterator[str]:
    """The GPUs; nothing where there is none."""
    for family in _GPU_FAMILIES if gpus else ():
        yield from header(family.name, family.kind, family.help)
        for gpu in gpus:
            yield f"{family.name}{labels({'gpu_uuid': gpu.uuid})} {number(family.value(gpu))}"


def parse_cpu(text: str) -> tuple[int, int]:
    """Busy and all jiffies since boot, summed over the cores, from /proc/stat."""
    jiffies = [int(word) for word in text.split("\n", 1)[0].split()[1:9]]
    idle = jiffies[3] + jiffies[4]
    return sum(jiffies) - idle, sum(jiffies)


def parse_memory(text: str) -> tuple[int, int]:
    """Total memory and memory in use, in bytes, from /proc/meminfo."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, total - available
