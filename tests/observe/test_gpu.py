"""NVIDIA's library: the real one where there is a GPU, and one of our own with its functions."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest

from pyserver.observe.gpu import LIBRARY, Gpus, GpuSample

SOURCE = """
#include <string.h>
typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
static char devices[2];
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int at, void **device) { *device = devices + at; return 0; }
static int at(void *device) { return (char *)device - devices; }
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    strncpy(uuid, at(device) ? "GPU-b" : "GPU-a", length); return 0; }
int nvmlDeviceGetUtilizationRates(void *device, utilization *rates) {
    rates->gpu = 37; return at(device) ? 3 : 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory *info) {
    info->total = 85899345920ULL; info->used = 1ULL << 33; info->free = 0; return 0; }
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) { *milliwatts = 71500; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned int *milliwatts) { *milliwatts = 700000; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    *millijoules = 12345678901234ULL; return at(device) ? 3 : 0; }
"""
"""The signatures are those of nvml.h."""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_what_the_library_says(tmp_path: Path) -> None:
    (tmp_path / "nvml.c").write_text(SOURCE)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True, timeout=60)
    gpus = Gpus(str(library))
    first, second = gpus.samples()
    assert first == GpuSample("GPU-a", 0.37, 85899345920, 1 << 33, 71.5, 700.0, 12345678901.234)
    assert second.uuid == "GPU-b"
    assert math.isnan(second.utilization)
    assert math.isnan(second.energy)
    gpus.close()


def test_the_machines_own() -> None:
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        with pytest.raises(OSError, match="nvidia"):
            Gpus(LIBRARY)
        return
    gpus = Gpus()
    assert all(gpu.uuid.startswith("GPU-") and 0 < gpu.memory_used < gpu.memory_total for gpu in gpus.samples())
    gpus.close()
