"""MLServer's metrics of RPCs that have begun, and of the messages of streams, under py-grpc-prometheus' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyserver.protocol.metrics_text import header, labels

_KINDS = {"ModelStreamInfer": "BIDI_STREAMING", "ServerReflectionInfo": "BIDI_STREAMING", "Watch": "SERVER_STREAMING"}
_FAMILIES = (
    ("started", "grpc_server_started_total", "RPCs that have begun"),
    ("received", "grpc_server_msg_received_total", "Messages of streams that clients have sent"),
    ("sent", "grpc_server_msg_sent_total", "Messages of streams that were sent to clients"),
)


class Calls:
    """Counts of one RPC: its calls, and the messages of its streams in either direction."""

    __slots__ = ("received", "sent", "started")

    def __init__(self) -> None:
        self.started = self.received = self.sent = 0


def labels_of(path: str) -> dict[str, str]:
    """The labels of an RPC by its path, /service/method."""
    service, _, method = path.strip("/").partition("/")
    return {"grpc_type": _KINDS.get(method, "UNARY"), "grpc_service": service, "grpc_method": method}


def render(calls: Mapping[str, Calls]) -> bytes:
    """The three families of `calls`, by path; those of messages where there are streams."""
    return "".join(f"{line}\n" for line in _lines(dict(sorted(calls.items())))).encode()


def _lines(calls: Mapping[str, Calls]) -> Iterator[str]:
    calls = {path: each for path, each in calls.items() if each.started}
    streams = {path: each for path, each in calls.items() if labels_of(path)["grpc_type"] != "UNARY"}
    for field, name, text in _FAMILIES:
        counted = calls if field == "started" else streams
        if counted:
            yield from header(name, "counter", text)
        for path, each in counted.items():
            yield f"{name}{labels(labels_of(path))} {getattr(each, field)}"
