"""Who waits for whom: whether a call would wait for ever, because all who could answer it wait for its caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyserver.instance.instance import Instance
    from pyserver.instance.services import Responses
    from pyserver.model.model import Model


def cycle(caller: Instance, target: Model) -> list[str]:
    """The models on the way from `caller` through `target` back to one that waits already; empty if there is none.

    An instance whose main thread waits for an answer runs nothing else. A request in a queue can be run by any
    instance of its model; one that was sent to an instance, by that one alone.
    """
    chain = _model_stuck(target, (caller,))
    return [caller.spec.model_name, *chain] if chain else []


def _model_stuck(model: Model, path: tuple[Instance, ...]) -> list[str]:
    """The chain if no instance of `model` can ever run a request that waits in its queue."""
    if steps := model.waits_for(None):
        return _any_stuck(model, steps, path)
    chains = [_instance_stuck(place.instance, path) for place in model.instances if place.instance.calls is not None]
    return min(chains, key=len) if chains and all(chains) else []


def _instance_stuck(instance: Instance, path: tuple[Instance, ...]) -> list[str]:
    """The chain from `instance` on if it waits for ever."""
    if instance in path:
        return [instance.spec.model_name]
    for stream in instance.waits_for():
        found = _stream_stuck(stream, (*path, instance))
        if found:
            return [instance.spec.model_name, *found]
    return []


def _stream_stuck(stream: Responses, path: tuple[Instance, ...]) -> list[str]:
    if stream.ended:
        return []
    pending = stream.waits_for
    payload = pending.payload if pending is not None else None
    if payload is None or payload.executor is None:
        return _model_stuck(stream.model, path)
    if stream.model.waits_for(None):
        return _any_stuck(stream.model, stream.model.waits_for(pending), path)
    return _instance_stuck(payload.executor, path)  # type: ignore[arg-type]


def _any_stuck(ensemble: Model, steps: Iterable[Model], path: tuple[Instance, ...]) -> list[str]:
    """The chain if one of these steps, all of which have to be run, can't be."""
    found = next(filter(None, (_model_stuck(step, path) for step in steps)), [])
    return [ensemble.name, *found] if found else []
