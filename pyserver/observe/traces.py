"""Which requests are traced, and where their traces go: the settings of all models, of each model, and the sampling."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyserver.observe.trace import Sink, Trace
from pyserver.observe.trace_file import FileSink
from pyserver.observe.trace_settings import Startup, TraceSetting, changed, cleared

TRACEPARENT = "traceparent"
"""The parameter of a request that holds a W3C trace context: where a header of that name goes."""


class Sampler:
    """Counts the requests under one setting."""

    __slots__ = ("_left", "_seen", "setting")

    def __init__(self, setting: TraceSetting) -> None:
        self.setting = setting
        self._seen = 0
        self._left = setting.trace_count

    def takes(self, asked: bool) -> bool:
        """Whether the next request is traced; `asked` by its client it is, whatever its number."""
        setting = self.setting
        if setting.trace_level == ("OFF",) or not self._left:
            return False
        self._seen += 1
        if not asked and (not setting.trace_rate or self._seen % setting.trace_rate):
            return False
        if self._left > 0:
            self._left -= 1
        return True


class Traces:
    """Settings and samplers. `on` says whether any request might be traced: ask it before anything else."""

    def __init__(self, startup: Startup | None = None, sink: Sink | None = None) -> None:
        self._start = (startup or Startup()).setting
        self._sampler = Sampler(self._start)
        self._models: dict[str, Sampler] = {}
        self._own: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._remote = sink
        self._files: dict[tuple[str, int], FileSink] = {}
        self._running: weakref.WeakValueDictionary[int, Trace] = weakref.WeakValueDictionary()
        self.on = False
        self._renew()

    @property
    def remote(self) -> bool:
        """Whether traces are spans of OpenTelemetry, whose context clients may send."""
        return self._remote is not None

    def setting(self, model: str = "") -> TraceSetting:
        """The setting of a model, or ("") of all."""
        return self._models.get(model, self._sampler).setting

    def update(self, model: str, changes: Mapping[str, Any]) -> TraceSetting:
        """Change the setting of a model or ("") of all, and return it; as `trace_settings.changed`.

        What a model's own says counts; what it doesn't follows the setting of all.
        """
        if not model:
            self._sampler = Sampler(changed(self._sampler.setting, changes, self._start))
            for name in self._own:
                self._models[name] = Sampler(replace(self._sampler.setting, **self._own[name]))
        else:
            usual = self._sampler.setting
            setting = changed(self.setting(model), changes, usual)
            own = {**self._own.get(model, {}), **{key: getattr(setting, key) for key in changes if key in _KEYS}}
            for key in cleared(changes):
                own.pop(key, None)
            self._own.pop(model, None)
            self._models.pop(model, None)
            if own:
                self._own[model] = own
                self._models[model] = Sampler(setting)
        self._renew()
        return self.setting(model)

    def sample(self, model: str, version: str, request_id: str, remote: str = "") -> Trace | None:
        """The trace of a request that comes now; None if it is not traced. `remote` is its W3C traceparent, or ""."""
        sampler = self._models.get(model, self._sampler)
        setting = sampler.setting
        known = remote if setting.trace_mode == "opentelemetry" and is_traceparent(remote) else ""
        if not sampler.takes(bool(known and int(known[-2:], 16) & 1)):
            return None
        return Trace(setting, self._sink(setting), self._number, model, version, request_id, None, known)

    def _number(self, trace: Trace) -> int:
        """A number for a trace, by which it is known until its request is over."""
        number = next(self._numbers)
        self._running[number] = trace
        return number

    def running(self, number: object) -> Trace | None:
        """The trace of this number, if its request is under way."""
        return self._running.get(number) if isinstance(number, int) else None

    def close(self) -> None:
        """Write what is not yet written. May block."""
        self.on = False
        for sink in (*self._files.values(), *(() if self._remote is None else (self._remote,))):
            sink.close()

    def _sink(self, setting: TraceSetting) -> Sink:
        if setting.trace_mode == "opentelemetry" and self._remote is not None:
            return self._remote
        key = setting.trace_file, setting.log_frequency
        if key not in self._files:
            self._files[key] = FileSink(*key)
        return self._files[key]

    def _renew(self) -> None:
        self.on = any(sampler.setting.on for sampler in (self._sampler, *self._models.values()))


_KEYS = frozenset(TraceSetting.__slots__)


def is_traceparent(text: str) -> bool:
    """Whether `text` is a W3C traceparent: version, trace id, parent id and flags, in lower-case hex."""
    parts = text.split("-")
    sizes = [2, 32, 16, 2]
    if [len(part) for part in parts] != sizes or parts[0] == "ff" or not set(text) <= set("0123456789abcdef-"):
        return False
    return bool(int(parts[1], 16) and int(parts[2], 16))
