"""The pure parts: states, backoff, pace, lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.instance.backoff import DEATHS, FIRST_NS, LIFE_NS, LONGEST_NS, OPEN_NS, SECOND, WINDOW_NS, Backoff
from pyserver.instance.console import BURST, LINES_PER_SECOND, MAX_LINE, LineBudget, LineSplitter, clean
from pyserver.instance.pace import MOST, Pace
from pyserver.instance.states import Event, State, advance


def test_a_life() -> None:
    state = State.SPAWNED
    for event in (Event.LOAD, Event.INITIALIZED, Event.STOP, Event.EXIT):
        state = advance(state, event)
    assert state is State.EXITED


@pytest.mark.parametrize(
    "state", [state for state in State if state is not State.EXITED], ids=lambda state: state.value
)
def test_every_process_may_die_at_any_time(state: State) -> None:
    expected = State.EXITED if state is State.DRAINING else State.FAILED
    assert advance(state, Event.EXIT) is expected


@pytest.mark.parametrize("event", [Event.LOAD, Event.INITIALIZED], ids=lambda event: event.value)
@pytest.mark.parametrize("state", [State.DRAINING, State.FAILED, State.EXITED], ids=lambda state: state.value)
def test_nobody_comes_back(state: State, event: Event) -> None:
    with pytest.raises(ValueError, match=f"an instance that is {state.value} can't {event.value}"):
        advance(state, event)


def test_backoff_grows_and_breaks() -> None:
    backoff = Backoff()
    assert [backoff.died(second * SECOND) for second in range(DEATHS - 1)] == [0, FIRST_NS, 2 * FIRST_NS, 4 * FIRST_NS]
    assert not backoff.broken
    assert backoff.died(DEATHS * SECOND) == OPEN_NS
    assert backoff.broken
    backoff.ready((DEATHS + 1) * SECOND)
    assert not backoff.broken
    assert backoff.died((DEATHS + 1) * SECOND + LIFE_NS - 1) == OPEN_NS, "it lived, but not for long: still too often"


def test_who_lives_for_a_while_has_accidents_and_no_crash_loop() -> None:
    backoff = Backoff()
    for number in range(2 * DEATHS):
        backoff.ready(number * 2 * LIFE_NS)
        assert backoff.died(number * 2 * LIFE_NS + LIFE_NS) == 0
        assert not backoff.broken
    assert backoff.died(4 * DEATHS * LIFE_NS) == FIRST_NS, "one that did not even become ready"


def test_backoff_forgets() -> None:
    backoff = Backoff()
    for second in range(10):
        assert backoff.died(second * (WINDOW_NS + 1)) == 0
    assert not backoff.broken


@given(st.lists(st.integers(0, 100 * SECOND), max_size=30))
def test_backoff_breaks_exactly_when_it_says(gaps: list[int]) -> None:
    backoff, now, deaths = Backoff(), 0, []
    for gap in gaps:
        now += gap
        deaths.append(now)
        delay = backoff.died(now)
        lately = [death for death in deaths if now - death <= WINDOW_NS]
        assert backoff.broken == (len(lately) >= DEATHS)
        assert 0 <= delay <= (OPEN_NS if backoff.broken else LONGEST_NS)


def test_pace_sends_a_millisecond_of_work_ahead() -> None:
    pace = Pace()
    assert pace.depth == 1
    depths = []
    for cost in (5_000_000, 900_000, 200_000, 1000):
        for _ in range(100):
            pace.executed(cost)
        depths.append(pace.depth)
    assert depths == [1, 2, 5, MOST]
    for _ in range(100):
        pace.executed(5_000_000)
    assert pace.depth == 1


def test_pace_with_double_buffering() -> None:
    pace = Pace(2)
    pace.executed(1_000_000_000)
    assert pace.depth == 2


def test_line_budget_refills() -> None:
    now = 0
    budget = LineBudget(lambda: now)
    assert budget.take(BURST + 5) == BURST
    assert (budget.take(1), budget.dropped) == (0, 6)
    now = SECOND
    assert budget.take(10_000) == LINES_PER_SECOND
    now = 1000 * SECOND
    assert budget.take(10_000) == BURST


@given(st.lists(st.binary(max_size=30), max_size=10), st.data())
def test_lines_fed_in_pieces(lines: list[bytes], data: st.DataObject) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    whole = b"".join(line + b"\n" for line in lines) + b"rest"
    splitter, heard = LineSplitter(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        heard += splitter.feed(whole[:size], 1000)
        whole = whole[size:]
    assert heard == lines
    assert splitter.finish() == [b"rest"]
    assert splitter.finish() == []


def test_lines_over_the_budget_are_left_out() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"a", 0) == []
    assert splitter.feed(b"b\nc\nd\ne", 1) == [b"ab"]
    assert splitter.feed(b"f\ng\nh", 0) == []
    assert splitter.finish() == [b"h"]


def test_an_endless_line_is_not_kept() -> None:
    splitter = LineSplitter()
    for _ in range(1000):
        assert splitter.feed(b"x" * 60_000, 10) == []
    [line] = splitter.feed(b"\n", 10)
    assert len(line) <= 2 * MAX_LINE + 2
    assert clean(line) == "x" * MAX_LINE + " ... (cut)"


def test_lines_cannot_forge_logs() -> None:
    assert clean(b"a\tb\x1b[31m\x00\r\x7f\xc2\x85\xff\r") == "a\tb\\x1b[31m\\x00\\x0d\\x7f\\x85\\xff"
    assert clean("grüße".encode()) == "grüße"
