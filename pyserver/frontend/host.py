"""The machine, looked at now and then for the metrics: its CPUs and memory, its GPUs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from pyserver.observe.gpu import Gpus, GpuSample
from pyserver.protocol.metrics_host import HostSample, parse_cpu, parse_memory
from pyserver.types import Clock

log = logging.getLogger(__name__)

PROC = Path("/proc")
PAGE = 4096


class Host:
    """CPU and memory of the machine, read at most once an interval: utilization is what the last interval saw."""

    def __init__(self, interval_ms: int = 2000, clock: Clock = time.monotonic_ns, proc: Path = PROC) -> None:
        self._interval_ns = interval_ms * 1_000_000
        self._clock = clock
        self._proc = proc
        self._read_ns = clock()
        self._busy, self._all = parse_cpu((proc / "stat").read_text())
        self._last = HostSample(0.0, *parse_memory((proc / "meminfo").read_text()))

    def sample(self) -> HostSample:
        """The newest sample; zero utilization before the first interval is over."""
        now = self._clock()
        if now - self._read_ns >= self._interval_ns:
            busy, total = parse_cpu((self._proc / "stat").read_text())
            share = (busy - self._busy) / max(1, total - self._all)
            self._last = HostSample(round(share, 4), *parse_memory((self._proc / "meminfo").read_text()))
            self._read_ns, self._busy, self._all = now, busy, total
        return self._last


class GpuWatch:
    """The GPUs, read at most once an interval; none where the driver's library finds none, which the log says once."""

    def __init__(self, interval_ms: int, clock: Clock = time.monotonic_ns) -> None:
        self._interval_ns = interval_ms * 1_000_000
        self._clock = clock
        self._read_ns = 0
        self._last: list[GpuSample] = []
        self._gpus: Gpus | None = None
        try:
            self._gpus = Gpus()
        except (OSError, AttributeError) as error:
            log.info("no metrics of GPUs: %s (--allow-gpu-metrics=false says so without looking)", error)

    def samples(self) -> list[GpuSample]:
        """The newest; may take some milliseconds."""
        now = self._clock()
        if self._gpus is not None and (not self._last or now - self._read_ns >= self._interval_ns):
            self._last, self._read_ns = self._gpus.samples(), now
        return self._last

    @property
    def any(self) -> bool:
        """Whether there is a GPU."""
        return self._gpus is not None and len(self._gpus) > 0


def resident(pid: int, proc: Path = PROC) -> int:
    """Bytes of memory that a process has; 0 for one that is gone."""
    try:
        return int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
