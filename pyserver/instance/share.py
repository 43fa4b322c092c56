"""An instance's share of the machine, as the variables that say so to numerical libraries and to CUDA."""

from __future__ import annotations

from pyserver.settings.machine import VISIBLE, gpus

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""How many threads numerical libraries start (torch goes by the first two): the CPUs, shared by a model's instances."""


def share(cpus: int, instances: int, kind: str) -> dict[str, str]:
    """The variables of one of `instances` on a `kind` of device; what the operator has set counts for more."""
    variables = dict.fromkeys(THREADS, str(max(1, cpus // instances)))
    if kind == "GPU":
        # All of them, so that a model's `cuda:{model_instance_device_id}` is the device that it is meant to be.
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        variables[VISIBLE] = ",".join(map(str, gpus()))
    return variables
