"""The states of an instance, in one table, without I/O."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a stub process is in its life."""

    SPAWNED = "spawned"  # the process is starting, nothing was asked of it yet
    LOADING = "loading"  # importing, completing the configuration, initializing
    READY = "ready"
    DRAINING = "draining"  # finishing what it has, then finalizing
    EXITED = "exited"  # gone, as asked
    FAILED = "failed"  # gone, or going, unasked


class Event(enum.Enum):
    """What moves an instance from one state to the next."""

    LOAD = "load"
    INITIALIZED = "initialized"
    STOP = "stop"
    FAIL = "fail"  # it did not load, or said what no stub says: it is being killed
    EXIT = "exit"  # the process is gone


_TABLE = {
    (State.SPAWNED, Event.LOAD): State.LOADING,
    (State.SPAWNED, Event.STOP): State.DRAINING,
    (State.SPAWNED, Event.FAIL): State.FAILED,
    (State.SPAWNED, Event.EXIT): State.FAILED,
    (State.LOADING, Event.INITIALIZED): State.READY,
    (State.LOADING, Event.STOP): State.DRAINING,
    (State.LOADING, Event.FAIL): State.FAILED,
    (State.LOADING, Event.EXIT): State.FAILED,
    (State.READY, Event.STOP): State.DRAINING,
    (State.READY, Event.FAIL): State.FAILED,
    (State.READY, Event.EXIT): State.FAILED,
    (State.DRAINING, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.FAIL): State.FAILED,
    (State.DRAINING, Event.EXIT): State.EXITED,
    (State.FAILED, Event.STOP): State.FAILED,
    (State.FAILED, Event.FAIL): State.FAILED,
    (State.FAILED, Event.EXIT): State.FAILED,
    (State.EXITED, Event.STOP): State.EXITED,
}


def advance(state: State, event: Event) -> State:
    """The state after `event`; ValueError where the table has no such arrow."""
    try:
        return _TABLE[state, event]
    except KeyError:
        raise ValueError(f"an instance that is {state.value} can't {event.value}") from None
