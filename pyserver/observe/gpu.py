"""What NVIDIA's driver says of its GPUs, by its own library (NVML), where there is one."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

LIBRARY = "libnvidia-ml.so.1"
_UUID_BYTES = 96


class GpuSample(NamedTuple):
    """One GPU: utilization 0 to 1, memory in bytes, power in watts, energy in joules since the driver was loaded.

    NaN, or 0 of memory, for what this GPU does not tell.
    """

    uuid: str
    utilization: float
    memory_total: int
    memory_used: int
    power_usage: float
    power_limit: float
    energy: float


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Gpus:
    """The GPUs of the machine. OSError where there is no library, or no driver behind it."""

    def __init__(self, library: str = LIBRARY) -> None:
        self._nvml = ctypes.CDLL(library)
        if self._nvml.nvmlInit_v2() != 0:
            raise OSError("NVIDIA's driver does not answer")
        count = ctypes.c_uint()
        self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        self._devices = [self._device(number) for number in range(count.value)]

    def __len__(self) -> int:
        return len(self._devices)

    def samples(self) -> list[GpuSample]:
        """One for each; may take some milliseconds."""
        return [self._sample(uuid, device) for uuid, device in self._devices]

    def close(self) -> None:
        """Let go of the driver."""
        self._nvml.nvmlShutdown()

    def _device(self, number: int) -> tuple[str, ctypes.c_void_p]:
        device = ctypes.c_void_p()
        self._nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(device))
        text = ctypes.create_string_buffer(_UUID_BYTES)
        self._nvml.nvmlDeviceGetUUID(device, text, ctypes.c_uint(_UUID_BYTES))
        return text.value.decode("ascii", "replace"), device

    def _sample(self, uuid: str, device: ctypes.c_void_p) -> GpuSample:
        used, memory = _Utilization(), _Memory()
        busy = self._nvml.nvmlDeviceGetUtilizationRates(device, ctypes.byref(used)) == 0
        self._nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
        return GpuSample(
            uuid,
            used.gpu / 100 if busy else float("nan"),
            memory.total,
            memory.used,
            self._thousandths("nvmlDeviceGetPowerUsage", device, ctypes.c_uint()),
            self._thousandths("nvmlDeviceGetEnforcedPowerLimit", device, ctypes.c_uint()),
            self._thousandths("nvmlDeviceGetTotalEnergyConsumption", device, ctypes.c_ulonglong()),
        )

    def _thousandths(self, call: str, device: ctypes.c_void_p, value: ctypes.c_uint | ctypes.c_ulonglong) -> float:
        failed = getattr(self._nvml, call)(device, ctypes.byref(value))
        return float("nan") if failed else value.value / 1000
