"""What a decoupled model has done: a request counts when its stream ends, not when execute returns."""

from __future__ import annotations

from typing import Any

from pyserver.model.statistics import Statistics
from pyserver.payload import Payload, Pending, Timing
from pyserver.types import InferResponse

MOST_INDEXES = 1000
"""Responses of a stream that are counted each by its place in it (response_stats); those beyond share the last."""
_COUNTED = ("compute_infer", "success", "fail", "empty_response")


class StreamStatistics(Statistics):
    """Statistics of a decoupled model, with `response_stats` by a response's place in its stream."""

    def __init__(self) -> None:
        super().__init__()
        self._responses: dict[int, dict[str, list[int]]] = {}

    def executed(self, payload: Payload, timing: Timing, now_ns: int) -> None:
        """Execute has returned, whatever is still to be sent."""
        started, input_ns, infer_ns, output_ns = timing
        rows = 0
        for pending in payload.pendings:
            rows += pending.rows
            self.queue_ns += max(0, started - pending.arrived_ns)
            self.input_ns += input_ns
            self.infer_ns += infer_ns
            self.output_ns += output_ns
        self.execution_count += 1
        self._batch(rows, timing)

    def lost(self, pending: Pending, now_ns: int) -> None:
        """Its instance died, which ends its stream: counted there, unless it never ran."""
        if pending.payload is None:
            self._failed("OTHER", pending, now_ns)

    def streamed(self, index: int, pending: Pending, response: InferResponse, final: bool, now_ns: int) -> None:
        """Response number `index` of a stream has come."""
        took = now_ns - pending.arrived_ns
        if not index and self.latencies is not None and self.latencies.first_response is not None:
            self.latencies.first_response.observe(took / 1e6)
        kind = "fail" if response.error else "empty_response" if response.empty else "success"
        counts = self._responses.setdefault(min(index, MOST_INDEXES), {name: [0, 0] for name in _COUNTED})
        for name in (kind, "compute_infer"):
            counts[name][0] += 1
            counts[name][1] += took
        if not final:
            return
        if pending.failed:
            if pending.payload is not None:
                self._failed("BACKEND", pending, now_ns)
        else:
            self.success += 1
            self.success_ns += took
            if self.latencies is not None:
                self.latencies.ended(took, now_ns)
            self.inference_count += pending.rows

    def document(self) -> dict[str, Any]:
        """As any model's, and the statistics of responses."""
        counted = {
            str(index): {name: {"count": count, "ns": ns} for name, (count, ns) in counts.items()}
            for index, counts in sorted(self._responses.items())
        }
        return {**super().document(), "response_stats": counted}
