"""What a model's configuration, and the server's flags, say about waiting: limits, time-outs, priorities, batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MICROSECOND = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait for one model: requests, and bytes of their inputs; and how long (0 for ever) where its
    configuration doesn't say.
    """

    requests: int
    nbytes: int
    timeout_us: int = 0


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How the requests of one priority level wait (ModelQueuePolicy).

    `max_queue_size` is 0 for no limit but the model's. A request waits `timeout_us` at most (0 for ever), less if it
    says so and `allow_timeout_override`; then it is rejected or, with `delay`, put behind those that have not expired.
    """

    max_queue_size: int = 0
    timeout_us: int = 0
    allow_timeout_override: bool = False
    delay: bool = False

    def deadline(self, arrived_ns: int, asked_us: int, whole_ns: int = 0) -> int:
        """When (monotonic nanoseconds) a request that asks for a time-out of `asked_us` expires; 0 for never.

        As in Triton an override of the model's default only shortens it, and has to be allowed. Where the model has
        none the request's own holds (Triton passes it over). `whole_ns` is the deadline, if any, of the request on
        whose behalf it is made: no policy prolongs that.
        """
        timeout = self.timeout_us
        if not timeout or (self.allow_timeout_override and 0 < asked_us < timeout):
            timeout = asked_us
        own_ns = arrived_ns + timeout * MICROSECOND if timeout else 0
        return min(own_ns, whole_ns) if own_ns and whole_ns else own_ns or whole_ns


@dataclass(frozen=True, slots=True)
class Priorities:
    """Priority levels 1 (first served) to `levels`, 0 for none; a request without a valid one gets `default`."""

    levels: int = 0
    default: int = 0
    policy: QueuePolicy = QueuePolicy()
    policies: Mapping[int, QueuePolicy] = field(default_factory=dict)

    def level(self, asked: int) -> int:
        """The level of a request that asks for priority `asked`."""
        return asked if 0 < asked <= self.levels else self.default

    def policy_of(self, level: int) -> QueuePolicy:
        """How requests of `level` wait."""
        return self.policies.get(level, self.policy)


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How batches form (ModelDynamicBatching): at most `max_rows` rows; `preferred` sizes, ascending; how long the
    oldest request may wait for company.

    `adaptive` chooses that time from what is measured, `max_delay_ns` (if there is one) being the most. With `retry`
    the requests of a batch that failed as a whole run once more, each alone.
    """

    max_rows: int
    preferred: tuple[int, ...] = ()
    max_delay_ns: int = 0
    preserve_ordering: bool = False
    adaptive: bool = False
    retry: bool = False

    @property
    def goal(self) -> int:
        """Rows beyond which waiting for more is pointless: the largest preferred size, or the most there can be."""
        return self.preferred[-1] if self.preferred else self.max_rows
