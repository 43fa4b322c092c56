"""Who goes first: callers before those that they call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyserver.controlplane.callgraph import layers, only_called_by

NAMES = st.sampled_from("abcdef")
GRAPHS = st.dictionaries(NAMES, st.sets(NAMES))


def reaches(calls: dict[str, set[str]], start: str, end: str) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        for other in calls.get(waiting.pop(), ()):
            if other == end:
                return True
            if other in calls and other not in seen:
                seen.add(other)
                waiting.append(other)
    return False


def test_parents_go_before_children() -> None:
    calls = {"ensemble": {"first", "second"}, "first": set(), "second": {"helper"}, "helper": set(), "alone": set()}
    assert layers(calls) == [["alone", "ensemble"], ["first", "second"], ["helper"]]


def test_who_call_each_other_go_together() -> None:
    assert layers({"a": {"b"}, "b": {"a", "c"}, "c": {"gone"}}) == [["a", "b"], ["c"]]


@given(GRAPHS)
def test_every_caller_is_before_whom_it_calls(calls: dict[str, set[str]]) -> None:
    ordered = layers(calls)
    place = {name: number for number, names in enumerate(ordered) for name in names}
    assert sorted(place) == sorted(calls)
    for name, called in calls.items():
        for other in called & set(calls) - {name}:
            assert place[name] < place[other] or reaches(calls, other, name)


def test_what_nobody_else_calls() -> None:
    calls = {"a": {"own", "shared"}, "b": {"shared"}, "own": {"deep"}, "shared": set(), "deep": set()}
    assert only_called_by("a", calls) == ["own", "deep"]
    assert only_called_by("b", calls) == []
    assert only_called_by("a", calls, kept={"own"}) == [], "nor what a model that stays calls"
    assert only_called_by("a", calls, kept={"deep"}) == ["own"]
