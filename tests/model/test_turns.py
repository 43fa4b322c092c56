"""Answers that are made side by side and told one after another: any order of saying, ending and waiting."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pyserver.errors import ServerError, invalid
from pyserver.model.ensemble.turns import Order, Turn
from pyserver.types import InferResponse


class Lease:
    released = 0

    def release(self) -> None:
        self.released += 1


def answer(name: str) -> InferResponse:
    return InferResponse("m", "1", name, lease=Lease())


def refusal(error: ServerError) -> InferResponse:
    return InferResponse("m", "1", error=error)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=5),
    st.data(),
)
def test_all_is_told_once_in_order_and_whoever_waits_is_called_in_turn(
    places: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Some places say their answers at any time; others wait until they are first, and say them then."""
    told: list[str] = []
    done: list[bool] = []
    order = Order(lambda response: told.append(response.id), lambda: done.append(True), refusal)
    turns = [order.turn() for _ in places]
    expected = [f"{place}.{number}" for place, (count, _) in enumerate(places) for number in range(count)]

    def speak(place: int, turn: Turn) -> None:
        assert told == [name for name in expected if int(name[0]) < place], "nobody before has anything left to say"
        for number in range(places[place][0]):
            turn.say(answer(f"{place}.{number}"))
        turn.end()

    actions = []
    for place, (count, waits) in enumerate(places):
        actions += [(place, -1)] if waits else [(place, number) for number in range(count + 1)]
    actions.append((len(places), 0))
    for place, number in data.draw(st.permutations(actions).map(_each_in_order)):
        if place == len(places):
            order.close()
        elif number < 0:
            turns[place].when_first(lambda place=place: speak(place, turns[place]))  # type: ignore[misc]
        elif number < places[place][0]:
            turns[place].say(answer(f"{place}.{number}"))
        else:
            turns[place].end()
    assert told == expected
    assert done == [True]


def _each_in_order(drawn: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same, but what one place does in its own order."""
    left = {place: iter(sorted(number for other, number in drawn if other == place)) for place, _ in drawn}
    return [(place, next(left[place])) for place, _ in drawn]


def test_what_was_not_told_is_released() -> None:
    order = Order(lambda response: None, lambda: None, refusal)
    order.turn()
    kept = answer("kept")
    lease = kept.lease
    order.turn().say(kept)
    order.drop()
    assert isinstance(lease, Lease)
    assert lease.released == 1


def test_an_error_stands_in_its_place() -> None:
    told: list[str] = []
    order = Order(lambda said: told.append(said.error.message if said.error else said.id), lambda: None, refusal)
    first, second = order.turn(), order.turn()
    second.fail(invalid("no"))
    assert not told
    first.say(answer("yes"))
    first.end()
    assert told == ["yes", "no"]


def test_all_who_wait_for_one_place_are_called_in_turn() -> None:
    called: list[int] = []
    order = Order(lambda response: None, lambda: None, refusal)
    first, second = order.turn(), order.turn()
    for number in range(3):
        second.when_first(lambda number=number: called.append(number))  # type: ignore[misc]
    assert not called
    first.end()
    assert called == [0, 1, 2]
