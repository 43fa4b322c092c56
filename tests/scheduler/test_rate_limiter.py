"""The rate limiter: resources are never overdrawn, turns are shared by priority, and nobody starves."""

from __future__ import annotations

import heapq
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import SlowExecutor, World

from pyserver.errors import ServerError
from pyserver.scheduler.direct import DirectScheduler
from pyserver.scheduler.policy import Limits
from pyserver.scheduler.queue import RequestQueue
from pyserver.scheduler.rate_limiter import GLOBAL, LimitedExecutor, Needs, RateLimiter, parse_resources

ROOMY = Limits(1 << 40, 1 << 60)
R, S = ("R", GLOBAL), ("S", 0)


class Models:
    """Several models of one world, each with an instance, under one rate limiter."""

    def __init__(self, limiter: RateLimiter, *needs: Needs, duration: int = 10) -> None:
        self.limiter = limiter
        self.worlds: list[World] = []
        self.members: list[LimitedExecutor] = []
        self.clock = World()
        for number, need in enumerate(needs):
            world = World()
            world._events = self.clock._events
            world._numbers = self.clock._numbers
            world.scheduler = DirectScheduler(
                f"m{number}", RequestQueue(f"m{number}", ROOMY), self.clock.clock, world.call_at, world.statistics
            )
            world.executors = [SlowExecutor(self.clock, f"m{number}_0", duration, 2)]
            self.members.append(limiter.join(world.executors[0], need, world.scheduler.wake))
            world.scheduler.add(self.members[-1])
            self.worlds.append(world)

    def arrive(self, model: int, at: int) -> None:
        self.worlds[model].arrive(at)

    def leave(self, model: int, at: int, number: int) -> None:
        """The client of a request goes."""
        world = self.worlds[model]
        self.clock.call_at(
            at, lambda: None if number >= len(world.requests) else world.scheduler.cancel(world.requests[number][0])
        )

    def run(self) -> None:
        while self.clock._events:
            self.clock.now = self.clock._events[0][0]
            for world in self.worlds:
                world.now = self.clock.now
            _, _, alarm, call = heapq.heappop(self.clock._events)
            if not alarm.off:
                call()

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """(start, end, model) of all executions."""
        return sorted(
            (run.start, run.start + world.executors[0].duration, number)
            for number, world in enumerate(self.worlds)
            for run in world.executors[0].runs
        )


def test_who_needs_the_same_resource_takes_turns() -> None:
    models = Models(RateLimiter(), Needs({R: 1}), Needs({R: 1}))
    for _ in range(3):
        models.arrive(0, 0)
        models.arrive(1, 0)
    models.run()
    assert [(start, model) for start, _, model in models.runs] == [(0, 0), (10, 1), (20, 0), (30, 1), (40, 0), (50, 1)]


def test_who_needs_nothing_is_not_held_up() -> None:
    models = Models(RateLimiter(), Needs({R: 1}), Needs())
    models.arrive(0, 0)
    models.arrive(1, 0)
    models.run()
    assert [start for start, _, _ in models.runs] == [0, 0]


def test_a_larger_pool_lets_both_run() -> None:
    models = Models(RateLimiter({R: 2}), Needs({R: 1}), Needs({R: 1}))
    models.arrive(0, 0)
    models.arrive(1, 0)
    models.run()
    assert [start for start, _, _ in models.runs] == [0, 0]


def test_priority_2_gets_half_the_turns_of_priority_1() -> None:
    models = Models(RateLimiter(), Needs({R: 1}, 1), Needs({R: 1}, 2))
    for _ in range(60):
        models.arrive(0, 0)
        models.arrive(1, 0)
    models.run()
    first = [model for _, _, model in models.runs[:60]]
    assert 38 <= first.count(0) <= 42


def test_a_large_need_is_not_overtaken_for_ever() -> None:
    models = Models(RateLimiter({R: 2}), Needs({R: 2}), Needs({R: 1}), Needs({R: 1}))
    for at in range(0, 1000, 5):
        models.arrive(1, at)
        models.arrive(2, at + 2)
    models.arrive(0, 100)
    models.run()
    (start,) = [start for start, _, model in models.runs if model == 0]
    assert start <= 130


def test_a_need_that_can_never_be_met_is_refused() -> None:
    with pytest.raises(ServerError, match=r'Resource count for "R" is limited to 3, .* minimum required count is 4'):
        RateLimiter({R: 3}).check("m", Needs({R: 4}))


def test_resources_on_the_command_line() -> None:
    assert parse_resources(["R:3", "S:2:0", "R:5"]) == {R: 5, S: 2}
    for bad in ("R", "R:x", ":3", "R:1:gpu"):
        with pytest.raises(ServerError, match="expected NAME:COUNT"):
            parse_resources([bad])


NEEDS = st.builds(
    Needs,
    st.dictionaries(st.sampled_from([R, S]), st.integers(1, 3), max_size=2),
    st.integers(1, 3),
)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(NEEDS, min_size=1, max_size=4),
    st.sampled_from([{}, {R: 3, S: 4}]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=60),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=2),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(0, 20)), max_size=6),
)
def test_nothing_is_overdrawn_lost_or_starved(
    needs: list[Needs],
    given_: dict[Any, int],
    arrivals: list[tuple[int, int]],
    deaths: list[tuple[int, int]],
    leaving: list[tuple[int, int, int]],
) -> None:
    limiter = RateLimiter(given_)
    models = Models(limiter, *needs)
    for model, at in arrivals:
        models.arrive(model % len(needs), at)
    for number, at in deaths:
        models.clock.call_at(at, models.worlds[number % len(models.worlds)].executors[0].die)
    for model, at, number in leaving:
        models.leave(model % len(needs), at, number)
    pools = {
        resource: given_.get(resource, max(need.resources.get(resource, 0) for need in needs)) for resource in (R, S)
    }
    models.run()
    for world in models.worlds:
        assert world.scheduler.idle, "starved"
        for pending, reply in world.requests:
            assert len(reply.outcomes) == 1 or (pending.cancelled and not reply.outcomes), "lost, or answered twice"
    if not deaths:
        for start, _, _ in models.runs:
            held = [model for begun, ended, model in models.runs if begun <= start < ended]
            assert len(held) == len(set(held)), "one payload at a time"
            for resource, most in pools.items():
                assert sum(needs[model].resources.get(resource, 0) for model in held) <= most
    assert not any(limiter._taken.values())
