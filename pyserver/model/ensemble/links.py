"""Ensembles and the models of their steps, as these come and go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from pyserver.errors import ServerError, invalid, unsupported
from pyserver.model.ensemble.ensemble import Ensemble, streaming
from pyserver.model.model import Model
from pyserver.model.registry import ModelEntry, Registry, State, VersionEntry
from pyserver.repository.rules import ensembles as rules

log = logging.getLogger(__name__)


class Links:
    """Links each ensemble to the models that serve; takes it out while one of them does not."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        registry.on_change = self.refresh

    async def open(self, models: Iterable[Model]) -> None:
        """Link and warm up those of `models` that are ensembles. ServerError, and none stays linked, if one fails."""
        ensembles = [model for model in models if isinstance(model, Ensemble)]
        try:
            for ensemble in ensembles:
                self.link(ensemble)
                await ensemble.warm()
            for ensemble in ensembles:
                self.link(ensemble)  # its models may be others by now
        except BaseException:
            for ensemble in ensembles:
                ensemble.unlink()
            raise

    def link(self, ensemble: Ensemble) -> None:
        """Link `ensemble` to the models of its steps. ServerError if one is not there, or doesn't fit."""
        found = self._models(ensemble)
        problems = list(rules.against_models(ensemble.config, {model.name: model.config for model in found}))
        if problems:
            raise invalid(f"ensemble '{ensemble.name}': {'; '.join(problems)}")
        _check_streams(ensemble, found)
        ensemble.link(found)

    def refresh(self) -> None:
        """The registry has changed: ensembles that lost a model become unavailable, those that got it back ready."""
        while changed := [entry for entry, ensemble in self._ensembles() if self._look_at(entry, ensemble)]:
            log.debug("%d ensembles follow the models of their steps", len(changed))

    def _ensembles(self) -> Iterator[tuple[VersionEntry, Ensemble]]:
        for entry in self._registry:
            for found in entry.versions.values():
                if isinstance(found.model, Ensemble) and found.state in (State.READY, State.UNAVAILABLE):
                    yield found, found.model

    def _look_at(self, entry: VersionEntry, ensemble: Ensemble) -> bool:
        """Whether the ensemble's state had to change."""
        before = entry.state
        try:
            self.link(ensemble)
        except ServerError as error:
            entry.state, entry.reason = State.UNAVAILABLE, error.message
        else:
            if before is State.READY:
                return False  # its reason, that of a reload that failed, stays
            entry.state, entry.reason = State.READY, ""
        if entry.state is before:
            return False
        self._registry.reroute()
        level = logging.INFO if entry.state is State.READY else logging.WARNING
        log.log(level, "ensemble '%s' version %d is %s%s", ensemble.name, ensemble.version, entry.state.value,
                f": {entry.reason}" if entry.reason else "")  # fmt: skip
        return True

    def _models(self, ensemble: Ensemble) -> list[Model]:
        found, absent = [], []
        for step in ensemble.graph.steps:
            try:
                found.append(self._registry.get(step.model, step.version))
            except ServerError as error:
                absent.append(self._absent(step.model, step.version, error))
        if absent:
            raise invalid(
                f"ensemble '{ensemble.name}' contains models that are not available or ambiguous: "
                + ", ".join(dict.fromkeys(absent))
            )
        return found

    def _absent(self, name: str, version: str, error: ServerError) -> str:
        """A model that is not there, and why if that is known."""
        entry: ModelEntry | None = self._registry.known(name)
        if entry is None:
            return name
        reasons = [_why(found) for found in entry.versions.values()]
        which = f"{name} version {version}" if version else name
        return f"{which} ({'; '.join(reasons) or error.message})"


def _check_streams(ensemble: Ensemble, models: list[Model]) -> None:
    """Responses of steps that answer any number of times must not meet, unless one step leads to the other."""
    streams = streaming(models)
    meeting = ensemble.graph.meeting(streams)
    if meeting is not None:
        step, one, other = (ensemble.graph.steps[number].model for number in meeting)
        raise unsupported(
            f"ensemble '{ensemble.name}': step '{step}' receives inputs originated from different decoupled models,"
            f" '{one}' (step {meeting.one}) and '{other}' (step {meeting.other}): nothing says which response of one"
            " belongs to which of the other"
        )
    if streams and ensemble.config.response_cache.enable:
        raise invalid(
            f"ensemble '{ensemble.name}': Response Cache does not currently support models with 'decoupled' transaction"
            f" policy, which step '{ensemble.graph.steps[min(streams)].model}' has"
        )


def _why(entry: VersionEntry) -> str:
    return "unloaded" if entry.state is State.UNLOADING else entry.reason or entry.state.value
