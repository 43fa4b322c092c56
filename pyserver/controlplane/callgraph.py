"""Which models call which, and so in which order they may go: callers first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pyserver.model.registry import Registry


def composing(config: Any) -> set[str]:
    """The names of the models that an ensemble's configuration calls; none for another's."""
    return {step.model_name for step in config.ensemble_scheduling.step}


def steps(registry: Registry) -> dict[str, set[str]]:
    """Every model that serves, and which others its configuration calls."""
    serving = {entry.name: entry.serving().values() for entry in registry}
    return {
        name: set().union(*(composing(model.config) for model in models)) for name, models in serving.items() if models
    }


def calls(registry: Registry) -> dict[str, set[str]]:
    """Every model that serves, and which others it is known to call."""
    found = steps(registry)
    for name, _, model in registry.loaded():
        found[name].update(model.calls)
    return found


def only_called_by(name: str, calls: Mapping[str, Collection[str]], kept: Collection[str] = ()) -> list[str]:
    """The names that `name` calls, itself or through others, and that nobody else in `calls` does.

    Those `kept` are left out, and with them what they call.
    """
    going = [name]
    for parent in going:
        for child in sorted(calls.get(parent, ())):
            callers = {caller for caller, called in calls.items() if child in called and caller != child}
            if child not in going and child not in kept and callers <= set(going):
                going.append(child)
    return going[1:]


def layers(calls: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The names in `calls` in groups, each before those that it calls; models that call each other go together.

    Names that are called and not in `calls` are passed over.
    """
    left = {name: {other for other in called if other in calls and other != name} for name, called in calls.items()}
    ordered: list[list[str]] = []
    while left:
        called = set().union(*left.values())
        first = sorted(set(left) - called) or _entangled(left)
        ordered.append(first)
        for name in first:
            del left[name]
        for others in left.values():
            others.difference_update(first)
    return ordered


def _entangled(left: Mapping[str, set[str]]) -> list[str]:
    """A smallest group of models that call each other and that nobody else calls."""
    reached = {name: _reached(name, left) for name in left}
    circles = [sorted(other for other in reached[name] if name in reached[other]) for name in sorted(left)]
    return next(
        circle
        for circle in circles
        if circle and not any(set(called) & set(circle) for name, called in left.items() if name not in circle)
    )


def _reached(name: str, left: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in left[waiting.pop()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found
