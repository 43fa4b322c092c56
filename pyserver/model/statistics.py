"""What a model version has done, counted as Triton counts it: the statistics extension and the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pyserver.model.latencies import Latencies
from pyserver.payload import Payload, Pending, Timing
from pyserver.types import InferResponse

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


class Statistics:
    """Counts and durations (nanoseconds) since the model version was loaded; a restarted instance resets nothing."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._touched = 0.0
        self.inference_count = 0
        self.execution_count = 0
        self.success = self.success_ns = 0
        self.fail = self.fail_ns = 0
        self.queue_ns = self.input_ns = self.infer_ns = self.output_ns = 0
        self.hits = self.hit_ns = self.misses = self.miss_ns = 0
        self.failures = dict.fromkeys(REASONS, 0)
        self.batches: dict[int, list[int]] = {}
        self.latencies: Latencies | None = None

    def executed(self, payload: Payload, timing: Timing, now_ns: int) -> None:
        """Each request of a batch took as long as the whole batch; only those that succeeded count in durations.

        Fillers, and those that will run again, count in the batch alone; those cancelled before it began nowhere.
        """
        started, input_ns, infer_ns, output_ns = timing
        rows = ran = counted = whole_ns = queue_ns = 0
        for pending in payload.pendings:
            if pending.payload is not payload:
                rows += 0 if pending.cancelled else pending.rows
                continue
            rows += pending.rows
            if pending.failed:
                self._failed("BACKEND", pending, now_ns)
                continue
            ran += 1
            counted += pending.rows
            arrived = pending.arrived_ns
            whole_ns += now_ns - arrived
            queue_ns += started - arrived if started > arrived else 0
        self.success += ran
        self.inference_count += counted
        self.success_ns += whole_ns
        self.queue_ns += queue_ns
        self.input_ns += ran * input_ns
        self.infer_ns += ran * infer_ns
        self.output_ns += ran * output_ns
        if rows:
            self.execution_count += 1
            self._batch(rows, timing)

    def rejected(self, pending: Pending, now_ns: int) -> None:
        """Refused: the queue was full."""
        self._failed("REJECTED", pending, now_ns)

    def cancelled(self, pending: Pending, now_ns: int) -> None:
        """Dropped from the queue: its client went away."""
        self._failed("CANCELED", pending, now_ns)

    def lost(self, pending: Pending, now_ns: int) -> None:
        """Failed because its instance died, its model went, or a step of it failed; or its client did not wait."""
        self._failed("CANCELED" if pending.cancelled else "OTHER", pending, now_ns)

    def cache_hit(self, lookup_ns: int) -> None:
        """A request was answered from the cache: a success that never queued and never ran."""
        if self.latencies is not None and self.latencies.hits is not None:
            self.latencies.hits.observe(lookup_ns / 1000, time.monotonic_ns())
        self.hits += 1
        self.hit_ns += lookup_ns
        self.success += 1
        self.success_ns += lookup_ns
        self.touch()

    def cache_missed(self, lookup_ns: int) -> None:
        """A request was not found in the cache, and goes on."""
        if self.latencies is not None and self.latencies.misses is not None:
            self.latencies.misses.observe(lookup_ns / 1000, time.monotonic_ns())
        self.misses += 1
        self.miss_ns += lookup_ns

    def cache_inserted(self, ns: int) -> None:
        """Its answer was: Triton counts this with the miss."""
        self.miss_ns += ns

    def streamed(self, index: int, pending: Pending, response: InferResponse, final: bool, now_ns: int) -> None:
        """Response number `index` of a stream: counted for decoupled models alone."""

    def touch(self) -> None:
        """A request was accepted: remember when (milliseconds since the epoch)."""
        self._touched = self._wall_clock()

    @property
    def last_inference_ms(self) -> int:
        """When a request was last accepted, in milliseconds since the epoch; 0 for never."""
        return int(self._touched * 1000)

    def document(self) -> dict[str, Any]:
        """The statistics in the V2 statistics extension's JSON shape, without the model's name and version."""
        ran = self.success - self.hits
        pairs = {
            "success": (self.success, self.success_ns),
            "fail": (self.fail, self.fail_ns),
            "queue": (self.success, self.queue_ns),
            "compute_input": (ran, self.input_ns),
            "compute_infer": (ran, self.infer_ns),
            "compute_output": (ran, self.output_ns),
            "cache_hit": (self.hits, self.hit_ns),
            "cache_miss": (self.misses, self.miss_ns),
        }
        return {
            "last_inference": self.last_inference_ms,
            "inference_count": self.inference_count,
            "execution_count": self.execution_count,
            "inference_stats": {name: {"count": count, "ns": ns} for name, (count, ns) in pairs.items()},
            "response_stats": {},
            "batch_stats": [self._batch_document(rows, totals) for rows, totals in sorted(self.batches.items())],
            "memory_usage": [],
        }

    def _failed(self, reason: str, pending: Pending, now_ns: int) -> None:
        self.fail += 1
        self.fail_ns += now_ns - pending.arrived_ns
        self.failures[reason] += 1

    def _batch(self, rows: int, timing: Timing) -> None:
        totals = self.batches.get(rows)
        if totals is None:
            totals = self.batches[rows] = [0, 0, 0, 0]
        totals[0] += 1
        totals[1] += timing[1]
        totals[2] += timing[2]
        totals[3] += timing[3]

    @staticmethod
    def _batch_document(rows: int, totals: list[int]) -> dict[str, Any]:
        count, input_ns, infer_ns, output_ns = totals
        return {
            "batch_size": rows,
            "compute_input": {"count": count, "ns": input_ns},
            "compute_infer": {"count": count, "ns": infer_ns},
            "compute_output": {"count": count, "ns": output_ns},
        }
