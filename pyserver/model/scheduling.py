"""From a model's configuration to its scheduler."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from pyserver.scheduler.direct import DirectScheduler
from pyserver.scheduler.dynamic import BatchKey, DynamicScheduler
from pyserver.scheduler.policy import MICROSECOND, BatchPolicy, Limits, Priorities, QueuePolicy
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.scheduler import CallAt, Observer, Scheduler
from pyserver.types import Clock, InferRequest


def make_scheduler(
    name: str, config: Any, limits: Limits, clock: Clock, call_at: CallAt, observer: Observer
) -> Scheduler:
    """The scheduler that a normalised ModelConfig message asks for."""
    if not config.HasField("dynamic_batching") or not config.max_batch_size:
        return DirectScheduler(name, RequestQueue(name, limits), clock, call_at, observer)
    batching = config.dynamic_batching
    queue = RequestQueue(name, limits, priorities(batching))
    policy = BatchPolicy(
        config.max_batch_size,
        tuple(sorted(batching.preferred_batch_size)),
        batching.max_queue_delay_microseconds * MICROSECOND,
        batching.preserve_ordering,
    )
    return DynamicScheduler(name, queue, clock, call_at, observer, policy, batch_key(config))


def priorities(batching: Any) -> Priorities:
    """The priority levels and queue policies of a ModelDynamicBatching message."""
    return Priorities(
        batching.priority_levels,
        batching.default_priority_level,
        _policy(batching.default_queue_policy),
        {level: _policy(policy) for level, policy in batching.priority_queue_policy.items()},
    )


def batch_key(config: Any) -> BatchKey:
    """What requests must have in common to share a batch.

    Inputs of variable size that are not ragged need one shape; where inputs may be left out, the same ones must be
    there. A model whose inputs are all of fixed size takes any requests together.
    """
    optional = any(entry.optional for entry in config.input)
    variable = frozenset(
        entry.name for entry in config.input if -1 in entry.dims and not entry.allow_ragged_batch
    )  # fmt: skip
    if not config.input:
        return lambda request: tuple([(tensor.name, tensor.datatype, tensor.shape[1:]) for tensor in request.inputs])
    if not optional and not variable:
        return lambda request: None

    def key(request: InferRequest) -> Hashable:
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


def _policy(message: Any) -> QueuePolicy:
    return QueuePolicy(
        message.max_queue_size,
        message.default_timeout_microseconds,
        message.allow_timeout_override,
        message.timeout_action == 1,
    )
