"""Traces as OpenTelemetry's spans, exported over OTLP/HTTP. Its SDK is imported here alone, only if it is asked for.

A request is a span named InferRequest with what its transport did as events, a child of the client's span if it sent a
traceparent; below it one named after the model, and below that one for the computing. The requests that a model makes
of others, and the steps of an ensemble, are children of the model's span.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pyserver.errors import invalid, unsupported
from pyserver.observe.trace import Trace

SERVICE = "triton-inference-server"
TRANSPORT = ("HTTP_", "GRPC_")
COMPUTE = ("COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
PROCESSOR = {
    "bsp_max_queue_size": "max_queue_size",
    "bsp_schedule_delay": "schedule_delay_millis",
    "bsp_max_export_batch_size": "max_export_batch_size",
}
EXPORT_TIMEOUT = 5
"""Seconds that a collector has for one batch; at exit as well."""


class OpenTelemetrySink:
    """Exports to the collector at `exporter['url']`. ServerError: no SDK is installed, or a setting is wrong."""

    def __init__(self, exporter: Mapping[str, str], resource: Mapping[str, str]) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise unsupported(
                "--trace-config mode=opentelemetry needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http "
                f"(pip install 'pyserver[opentelemetry]'): {error}"
            ) from None
        self._api = trace
        spans = OTLPSpanExporter(endpoint=exporter["url"], timeout=EXPORT_TIMEOUT)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": SERVICE, **resource}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(spans, **_processor(exporter)))
        self._tracer = self._provider.get_tracer("pyserver")
        self._offset = time.time_ns() - time.monotonic_ns()

    def begin(self, trace: Trace) -> None:
        """Open the spans, and tell who goes on from here."""
        parent = self._parent(trace)
        root = None
        if trace.parent is None:
            kind = self._api.SpanKind.SERVER
            root = self._tracer.start_span("InferRequest", parent, kind, start_time=self._at(trace.events[0][1]))
            parent = self._api.set_span_in_context(root)
        version = int(trace.version or 0)
        attributes: dict[str, Any] = {
            "triton.model_name": trace.model,
            "triton.model_version": version,
            "triton.trace_id": trace.id,
        }
        if trace.request_id:
            attributes["triton.request_id"] = trace.request_id
        begun = dict(trace.events)["REQUEST_START"]
        span = self._tracer.start_span(trace.model, parent, attributes=attributes, start_time=self._at(begun))
        trace.spans = (root, span)
        trace.context = traceparent(span.get_span_context())

    def finish(self, trace: Trace) -> None:
        """Close the spans, with all that has happened."""
        root, span = trace.spans
        compute = {name: ns for name, ns in trace.events if name in COMPUTE}
        if len(compute) == len(COMPUTE):
            inner = self._tracer.start_span(
                "compute", self._api.set_span_in_context(span), start_time=self._at(compute["COMPUTE_START"])
            )
            self._close(inner, [(name, ns) for name, ns in trace.events if name in compute])
        transport = [event for event in trace.events if event[0].startswith(TRANSPORT)]
        self._close(span, [each for each in trace.events if each not in transport and each[0] not in compute], trace)
        if root is not None:
            self._close(root, transport or trace.events[-1:], trace)

    def close(self) -> None:
        """Export what is left."""
        self._provider.shutdown()

    def _close(self, span: Any, events: list[tuple[str, int]], trace: Trace | None = None) -> None:
        for name, ns in events:
            span.add_event(name, timestamp=self._at(ns))
        if trace is not None and trace.error:
            span.set_status(self._api.StatusCode.ERROR, trace.error)
        span.end(self._at(max((ns for _, ns in events), default=time.monotonic_ns())))

    def _parent(self, trace: Trace) -> Any:
        if trace.parent is not None and trace.parent.spans:
            return self._api.set_span_in_context(trace.parent.spans[1])
        if not trace.remote:
            return None
        _, identity, span, flags = trace.remote.split("-")
        numbers = int(identity, 16), int(span, 16)
        far = self._api.SpanContext(*numbers, is_remote=True, trace_flags=self._api.TraceFlags(int(flags, 16) | 1))
        return self._api.set_span_in_context(self._api.NonRecordingSpan(far))

    def _at(self, ns: int) -> int:
        """Nanoseconds since the epoch."""
        return ns + self._offset


def traceparent(context: Any) -> str:
    """The W3C header for who goes on from a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _processor(settings: Mapping[str, str]) -> dict[str, Any]:
    unknown = sorted(set(settings) - {"url", *PROCESSOR})
    if unknown:
        raise invalid(f"--trace-config opentelemetry,{unknown[0]}=: there is no such setting")
    try:
        return {PROCESSOR[key]: int(value) for key, value in settings.items() if key in PROCESSOR}
    except ValueError as error:
        raise invalid(f"--trace-config opentelemetry: {error}") from None
