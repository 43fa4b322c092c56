"""Every model that the server knows, by name and version, with the state that the repository index shows."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pyserver.errors import invalid, not_found, unavailable
from pyserver.model.model import Model
from pyserver.model.plan import Plan


class State(enum.Enum):
    """Where a model version stands, in the index's words."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


UNLOADED = "unloaded"


@dataclass(slots=True)
class VersionEntry:
    """A version's state and, where it is not READY, the reason; `model` while it serves."""

    state: State
    reason: str = ""
    model: Model | None = None

    @property
    def ready(self) -> bool:
        """Whether a request sent now would be executed."""
        return self.state is State.READY and self.model is not None and self.model.ready

    @property
    def wanted(self) -> bool:
        """Whether it should be ready: one that was unloaded in order need not be."""
        return not (self.state is State.UNAVAILABLE and self.reason == UNLOADED)

    def shown(self) -> tuple[State, str]:
        """State and reason as the index shows them: a version without an instance that lives is not ready."""
        if self.state is not State.READY or self.model is None or self.model.whole:
            return self.state, self.reason
        return (State.READY if self.model.ready else State.UNAVAILABLE), self.model.trouble


@dataclass(slots=True)
class ModelEntry:
    """A model's versions, by number; a model that failed before any version was known has version 0 alone.

    `plan` is what it serves from, None if it does not serve. `labels` is what clients call the versions where that is
    not their number; empty where it is.
    """

    name: str
    versions: dict[int, VersionEntry] = field(default_factory=dict)
    plan: Plan | None = None
    labels: Mapping[str, int] = field(default_factory=dict)

    def label(self, number: int) -> str:
        """What clients call a version, "" for one that has no name of its own (or none yet, number 0)."""
        if self.labels:
            return next((label for label, found in self.labels.items() if found == number), "")
        return str(number) if number else ""

    @property
    def whole(self) -> bool:
        """Whether everything that the plan asks for serves, with all its instances."""
        serving = self.serving()
        return (
            self.plan is not None
            and tuple(serving) == self.plan.versions
            and all(model.whole for model in serving.values())
        )

    def loading(self, what: str) -> None:
        """Say in the reason of the versions that are LOADING what they wait for."""
        for found in self.versions.values():
            if found.state is State.LOADING:
                found.reason = what

    def serving(self) -> dict[int, Model]:
        """The models that take requests, by version, ascending."""
        return {
            number: entry.model
            for number, entry in sorted(self.versions.items())
            if entry.state is State.READY and entry.model is not None
        }


class Registry:
    """Looks models up; changed only by the control plane, and by `on_change`, which is told of every change."""

    def __init__(self) -> None:
        self._entries: dict[str, ModelEntry] = {}
        self._routes: dict[tuple[str, str], Model] = {}
        self.on_change: Callable[[], None] | None = None

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def entry(self, name: str) -> ModelEntry:
        """The entry of `name`, made if there is none."""
        return self._entries.setdefault(name, ModelEntry(name))

    def known(self, name: str) -> ModelEntry | None:
        """The entry of `name`, if there is one."""
        return self._entries.get(name)

    def forget(self, name: str) -> None:
        """Drop the entry of `name`."""
        self._entries.pop(name, None)
        self.changed()

    def changed(self) -> None:
        """An entry has changed: look everything up anew, and tell who follows the models."""
        self.reroute()
        if self.on_change is not None:
            self.on_change()

    def reroute(self) -> None:
        """Look everything up anew."""
        self._routes.clear()

    def get(self, name: str, version: str) -> Model:
        """The model that serves requests to `name`, `version` ("" for the greatest that serves).

        Raises ServerError: NOT_FOUND, UNAVAILABLE for a version that is not ready, INVALID_ARG for a bad version.
        """
        model = self._routes.get((name, version))
        if model is None:
            model = self._routes[name, version] = self._find(name, version)
        return model

    def _find(self, name: str, version: str) -> Model:
        entry = self._entries.get(name)
        if entry is not None and entry.labels and version:
            return self._labelled(entry, version)
        number = parse_version(version)
        if entry is None:
            raise not_found(f"Request for unknown model: '{name}' is not found")
        serving = entry.serving()
        if number is None:
            if not serving:
                raise not_found(f"Request for unknown model: '{name}' has no available versions{_why(entry)}")
            return serving[max(serving)]
        if number in serving:
            return serving[number]
        if number not in entry.versions:
            raise not_found(f"Request for unknown model: '{name}' version {number} is not found")
        state = entry.versions[number].state.value
        raise unavailable(f"Request for model '{name}': version {number} is not at ready state: it is {state}")

    def _labelled(self, entry: ModelEntry, version: str) -> Model:
        # A path's version comes without leading zeros.
        number = entry.labels.get(version) or {label.lstrip("0"): number for label, number in entry.labels.items()}.get(
            version
        )
        model = entry.serving().get(number) if number is not None else None
        if model is None:
            known = ", ".join(filter(None, entry.labels)) or "none with a name"
            raise not_found(
                f"Request for unknown model: '{entry.name}' version '{version[:64]}' is not found (versions: {known})"
            )
        return model

    def loaded(self) -> list[tuple[str, int, Model]]:
        """Every model version that serves: name, version, model."""
        return [(entry.name, number, model) for entry in self for number, model in entry.serving().items()]


def parse_version(version: str) -> int | None:
    """A request's model version: None for "" (by policy); ServerError (INVALID_ARG) unless an integral value > 0."""
    if not version:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= 18 and int(version) > 0):
        raise invalid(
            f"failed to get model version from specified version string '{version[:64]}':"
            " version should be an integral value > 0"
        )
    return int(version)


def _why(entry: ModelEntry) -> str:
    states = [f"version {number} is {found.state.value}" for number, found in sorted(entry.versions.items()) if number]
    return f": {', '.join(states)}" if states else ""
