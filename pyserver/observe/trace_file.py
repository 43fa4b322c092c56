"""Traces in files, in Triton's format: a JSON array of small objects, which belong together by their `id`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import IO, Any

from pyserver.observe.trace import Trace

log = logging.getLogger(__name__)


class FileSink:
    """Writes to `path`, or `frequency` traces each to `path`.0, `path`.1 and so on. A file is whole when it is closed:
    that of a number when it is full, the only one when the server goes.
    """

    def __init__(self, path: str, frequency: int) -> None:
        self._path = path
        self._frequency = frequency
        self._index = 0
        self._count = 0
        self._file: IO[str] | None = None
        self._broken = False

    def begin(self, trace: Trace) -> None:
        """There is no context in files."""

    def finish(self, trace: Trace) -> None:
        """Write a trace."""
        if self._broken:
            return
        try:
            self._write(trace)
        except OSError as error:
            self._broken = True
            log.error("traces can't be written to '%s', there will be no more: %s", self._path, error.strerror)

    def close(self) -> None:
        """End the array."""
        file, self._file = self._file, None
        self._count = 0
        if file is not None:
            file.write("]")
            file.close()

    def _write(self, trace: Trace) -> None:
        if self._file is None:
            path = Path(f"{self._path}.{self._index}" if self._frequency else self._path)
            self._file = path.open("w")
            self._index += 1
        first = not self._count
        self._file.write(("[" if first else ",") + ",".join(json.dumps(each) for each in objects(trace)))
        self._count += 1
        if self._count == self._frequency:
            self.close()


def objects(trace: Trace) -> list[dict[str, Any]]:
    """What a file says of a trace: who it is, when what happened, and its tensors."""
    whose: dict[str, Any] = {"id": trace.id, "model_name": trace.model, "model_version": int(trace.version or 0)}
    if trace.request_id:
        whose["request_id"] = trace.request_id
    if trace.parent is not None:
        whose["parent_id"] = trace.parent.id
    said = [whose]
    if "TIMESTAMPS" in trace.setting.trace_level:
        said.append({"id": trace.id, "timestamps": [{"name": name, "ns": ns} for name, ns in trace.events]})
    said += [{"id": trace.id, "activity": each.name, "tensor": each.tensor} for each in trace.activities]
    return said
