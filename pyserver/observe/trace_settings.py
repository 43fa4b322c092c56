"""What is traced: the settings of the V2 trace extension, read from flags and requests, as values that can't change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyserver.errors import ServerError, invalid, unsupported
from pyserver.settings import Settings

LEVELS = ("OFF", "TIMESTAMPS", "TENSORS")
MODES = ("triton", "opentelemetry")
NUMBERS = {"trace_rate": (0, (1 << 32) - 1), "trace_count": (-1, (1 << 31) - 1), "log_frequency": (0, (1 << 32) - 1)}
KEYS = ("trace_level", "trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode")
_FIXED = {"trace_file": "trace file location", "trace_mode": "trace mode"}


@dataclass(frozen=True, slots=True)
class TraceSetting:
    """Which requests are traced: each `trace_rate`th, `trace_count` of them (-1: all); and what becomes of them."""

    trace_level: tuple[str, ...] = ("OFF",)
    trace_rate: int = 1000
    trace_count: int = -1
    log_frequency: int = 0
    trace_file: str = ""
    trace_mode: str = "triton"

    @property
    def on(self) -> bool:
        """Whether anything is traced."""
        return self.trace_level != ("OFF",) and self.trace_count != 0

    @property
    def tensors(self) -> bool:
        """Whether tensors are, which OpenTelemetry has no place for."""
        return "TENSORS" in self.trace_level and self.trace_mode == "triton"

    def document(self) -> dict[str, Any]:
        """As the trace extension shows it: all values are text."""
        levels = list(self.trace_level)
        return {key: levels if key == "trace_level" else str(getattr(self, key)) for key in KEYS}


@dataclass(frozen=True, slots=True)
class Startup:
    """What the flags say: the setting, and what OpenTelemetry's exporter and batch processor are given."""

    setting: TraceSetting = TraceSetting()
    exporter: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)


def from_flags(settings: Settings) -> Startup:
    """What --trace-config, and the older flags, say. ServerError for what can't be."""
    changes: dict[str, Any] = {}
    exporter: dict[str, str] = {}
    resource: dict[str, str] = {}
    if settings.trace_level:
        changes["trace_level"] = list(settings.trace_level)
    changes.update(trace_rate=str(settings.trace_rate), trace_count=str(settings.trace_count))
    changes.update(log_frequency=str(settings.trace_log_frequency), trace_file=settings.trace_file)
    levels: list[str] = []
    for entry in settings.trace_config:
        mode, key, value = _split(entry)
        if mode == "opentelemetry":
            if key == "resource":
                name, _, text = value.partition("=")
                resource[name] = text
            else:
                exporter[key] = value
        elif key == "level":
            levels.append(value)
        else:
            changes[_name(entry, mode, key)] = value
    if levels:
        changes["trace_level"] = levels
    mode = str(changes.pop("trace_mode", "triton")).lower()
    if mode not in MODES:
        raise invalid(f"--trace-config mode={mode}: expected one of {', '.join(MODES)}")
    start = TraceSetting(trace_file=changes.pop("trace_file"), trace_mode=mode)
    setting = changed(start, changes, start)
    if setting.trace_mode == "opentelemetry" and "url" not in exporter:
        exporter["url"] = "http://localhost:4318/v1/traces"
    return Startup(setting, exporter, resource)


def _split(entry: str) -> tuple[str, str, str]:
    """Mode ("" for none), key and value of `[MODE,]KEY=VALUE`."""
    head, equals, value = entry.partition("=")
    mode, _, key = head.rpartition(",")
    if not equals or not key or mode not in ("", *MODES):
        raise invalid(f"--trace-config '{entry}', expected [triton,|opentelemetry,]KEY=VALUE")
    return mode, key, value


def _name(entry: str, mode: str, key: str) -> str:
    names = {"file": "trace_file", "log-frequency": "log_frequency"} if mode else {}
    names = names or {"rate": "trace_rate", "count": "trace_count", "mode": "trace_mode"}
    if key not in names:
        raise invalid(f"--trace-config '{entry}': there is no '{key}', expected one of {', '.join(names)}, level")
    return names[key]


def changed(setting: TraceSetting, changes: Mapping[str, Any], usual: TraceSetting) -> TraceSetting:
    """`setting` with the values of a request; null takes those of `usual`; keys that are none are ignored.

    ServerError: INVALID_ARG for a value that can't be, UNSUPPORTED for what the network may not change.
    """
    made: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in KEYS:
            continue
        if value is None:
            made[key] = getattr(usual, key)
        elif key in _FIXED:
            raise unsupported(f"{_FIXED[key]} can not be updated through network protocol")
        else:
            made[key] = _levels(value) if key == "trace_level" else _number(key, value)
    result = replace(setting, **made)
    if result.trace_level != ("OFF",) and result.trace_mode == "triton" and not result.trace_file:
        raise invalid("Attempting to set invalid trace setting :trace file name is not given")
    return result


def cleared(changes: Mapping[str, Any]) -> list[str]:
    """The keys that are to follow the usual setting again."""
    return [key for key, value in changes.items() if key in KEYS and value is None]


def _levels(value: Any) -> tuple[str, ...]:
    """Levels in their order; those that there are not are ignored, as by Triton."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise _not_text("trace_level", value)
    levels = {"TIMESTAMPS" if each == "MIN" else each for each in given}
    known = tuple(level for level in LEVELS if level in levels)
    if "OFF" in known and len(given) > 1:
        raise invalid(f"Expect only one trace level 'OFF' is specified, got {', '.join(map(str, given))}")
    return known or ("OFF",)


def _number(key: str, value: Any) -> int:
    if not isinstance(value, str):
        raise _not_text(key, value)
    least, most = NUMBERS[key]
    try:
        number = int(value)
    except ValueError:
        raise invalid(f"Unable to parse '{key}', got: {value[:64]}") from None
    if not least <= number <= most:
        raise invalid(f"Unable to parse '{key}'. Expecting value >= {least}, got:{number} (and at most {most})")
    return number


def _not_text(key: str, value: object) -> ServerError:
    return invalid(f"attempt to access JSON non-string as string: '{key}' is {_shown(value)}")


def _shown(value: object) -> str:
    return repr(value)[:64]
