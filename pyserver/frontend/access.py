"""The access log: a line for every request, where the operator wants it (`--access-log`, or a verbose log)."""

from __future__ import annotations

import logging

from pyserver.frontend.answered import Answered
from pyserver.observe.formats import single
from pyserver.observe.log import Log
from pyserver.protocol.mlserver_calls import Calls

access = logging.getLogger("pyserver.access")


class AccessLog:
    """Writes the lines, and tells `answered` where that is given. `on` says whether either is wanted: ask it before a
    request costs anything.
    """

    def __init__(self, wanted: bool = False, log: Log | None = None, answered: Answered | None = None) -> None:
        self._answered = answered
        self._wanted = wanted
        self._level = logging.INFO if wanted else logging.DEBUG
        self._writes = wanted
        self.on = wanted or answered is not None
        if log is not None:
            log.listeners.append(self.follow)
            self.follow(log)

    def follow(self, log: Log) -> None:
        """The log has other settings."""
        self._writes = self._wanted or log.wanted.log_verbose_level > 0
        self.on = self._writes or self._answered is not None

    def line(
        self, client: str, protocol: str, method: str, path: str, status: int, size: int, seconds: float, request: str
    ) -> None:
        """One answered request: `size` bytes of its answer, its `status` in `protocol`, its id or "".

        What the client has written is escaped: it stays one line, of its own.
        """
        if self._answered is not None:
            self._answered.note(protocol, method, path, status, seconds)
            if not self._writes:
                return
        self._write(client, protocol, method, path, status, size, seconds, request)

    def part(self, path: str, status: int, size: int, seconds: float, request: str) -> None:
        """One request among those of a gRPC stream, which is not counted: its stream is."""
        if self._writes:
            self._write("-", "grpc", "POST", path, status, size, seconds, request)

    def calls(self, path: str) -> Calls | None:
        """The counts of an RPC, where they are wanted."""
        return None if self._answered is None else self._answered.of_call(path)

    def _write(
        self, client: str, protocol: str, method: str, path: str, status: int, size: int, seconds: float, request: str
    ) -> None:
        path, request, took = single(path), single(request), 1000.0 * seconds
        fields = {"client": client, "protocol": protocol, "method": method, "path": path, "status": status}
        more = {"size": size, "milliseconds": round(took, 3), "requests": request}
        text = f"{client} {protocol} {method} {path} {status} {size} bytes {took:.3f} ms"
        access.log(self._level, "%s", f"{text} [{request}]" if request else text, extra={**fields, **more})
