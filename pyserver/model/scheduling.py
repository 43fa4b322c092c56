"""From a model's configuration to its scheduler."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from pyserver.ipc.envelope import BACKEND
from pyserver.model.open_signature import OpenKey
from pyserver.model.sequencing import make_controls, make_states, sequence_policy
from pyserver.repository.parameters import ADAPTIVE_PARAMETER, RETRY_PARAMETER, switched_on
from pyserver.scheduler.direct import DirectScheduler
from pyserver.scheduler.dynamic import BatchKey, DynamicScheduler
from pyserver.scheduler.ensemble import EnsembleScheduler
from pyserver.scheduler.policy import MICROSECOND, BatchPolicy, Limits, Priorities, QueuePolicy
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import CallAt, Observer, Scheduler
from pyserver.scheduler.sequence import SequenceScheduler
from pyserver.types import Clock, InferRequest


def make_scheduler(
    name: str,
    config: Any,
    limits: Limits,
    clock: Clock,
    call_at: CallAt,
    observer: Observer,
    initial_states: Mapping[str, bytes] | None = None,
) -> Scheduler:
    """The scheduler that a normalised ModelConfig message asks for; `initial_states` are what its data files hold."""
    if config.HasField("sequence_batching"):
        states = make_states(config, initial_states or {})
        queue = RequestQueue(name, limits, unless_said(limits))
        policy = sequence_policy(config)
        key = batch_key(config)
        return SequenceScheduler(name, queue, clock, call_at, observer, policy, key, make_controls(config), states)
    if config.HasField("ensemble_scheduling"):
        return EnsembleScheduler(name, RequestQueue(name, limits, unless_said(limits)), clock, call_at, observer)
    if not config.HasField("dynamic_batching") or not config.max_batch_size:
        return DirectScheduler(name, RequestQueue(name, limits, unless_said(limits)), clock, call_at, observer)
    batching = config.dynamic_batching
    queue = RequestQueue(name, limits, priorities(batching, limits))
    batch_policy = BatchPolicy(
        config.max_batch_size,
        tuple(sorted(batching.preferred_batch_size)),
        batching.max_queue_delay_microseconds * MICROSECOND,
        batching.preserve_ordering,
        switched_on(config, ADAPTIVE_PARAMETER, False),
        switched_on(config, RETRY_PARAMETER, not config.model_transaction_policy.decoupled),
    )
    return DynamicScheduler(name, queue, clock, call_at, observer, batch_policy, batch_key(config))


def unless_said(limits: Limits) -> Priorities:
    """One level whose requests wait as long as the server's flags say, or they themselves."""
    return Priorities(policy=QueuePolicy(timeout_us=limits.timeout_us, allow_timeout_override=True))


def priorities(batching: Any, limits: Limits) -> Priorities:
    """The priority levels and queue policies of a ModelDynamicBatching message."""
    return Priorities(
        batching.priority_levels,
        batching.default_priority_level,
        _policy(batching.default_queue_policy, limits),
        {level: _policy(policy, limits) for level, policy in batching.priority_queue_policy.items()},
    )


def batch_key(config: Any) -> BatchKey:
    """What requests must have in common to share a batch.

    Inputs of variable size that are not ragged need one shape; where inputs may be left out, the same ones must be
    there. A model whose inputs are all of fixed size takes any requests together.
    """
    if config.backend == BACKEND:
        return OpenKey()
    optional = any(entry.optional for entry in config.input)
    variable = frozenset(
        entry.name for entry in config.input if -1 in entry.dims and not entry.allow_ragged_batch
    )  # fmt: skip
    if not config.input:
        return lambda request: tuple([(tensor.name, tensor.datatype, tensor.shape[1:]) for tensor in request.inputs])
    if not optional and not variable:
        return lambda request: None

    def key(request: InferRequest) -> Hashable:
        if len(request.inputs) == 1 and not optional:
            return request.inputs[0].shape[1:]  # it is the model's only one, of variable size
        return tuple(
            [
                (tensor.name, tensor.shape[1:] if tensor.name in variable else None)
                for tensor in (sorted(request.inputs, key=_name) if optional else request.inputs)
                if optional or tensor.name in variable
            ]
        )

    return key


def _name(tensor: Any) -> str:
    return str(tensor.name)


def _policy(message: Any, limits: Limits) -> QueuePolicy:
    timeout_us = message.default_timeout_microseconds
    return QueuePolicy(
        message.max_queue_size,
        timeout_us or limits.timeout_us,
        message.allow_timeout_override or not timeout_us,
        message.timeout_action == 1,
    )
