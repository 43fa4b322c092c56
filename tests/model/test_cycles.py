"""Who waits for whom, over stand-ins: a circle is told with its models, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyserver.model.cycles import cycle


class World:
    """Models by name, each with instances; `wait` lets an instance wait for an answer of a model."""

    def __init__(self, **counts: int) -> None:
        self.models: dict[str, Any] = {}
        for name, count in counts.items():
            model = SimpleNamespace(name=name, steps=[], instances=[])
            model.waits_for = lambda pending, model=model: model.steps
            model.instances = [SimpleNamespace(instance=instance(name)) for _ in range(count)]
            self.models[name] = model

    def instance(self, name: str, number: int = 0) -> Any:
        return self.models[name].instances[number].instance

    def wait(self, name: str, target: str, runs_on: Any = None, number: int = 0, ended: bool = False) -> None:
        payload = SimpleNamespace(executor=runs_on)
        pending = SimpleNamespace(payload=payload if runs_on is not None else None)
        stream = SimpleNamespace(model=self.models[target], waits_for=pending, ended=ended)
        self.instance(name, number).waited.append(stream)

    def call(self, name: str, target: str, number: int = 0) -> str:
        return " ".join(cycle(self.instance(name, number), self.models[target]))


def instance(name: str) -> Any:
    waited: list[Any] = []
    return SimpleNamespace(
        spec=SimpleNamespace(model_name=name), calls=object(), waited=waited, waits_for=lambda: waited
    )


def test_who_calls_himself() -> None:
    world = World(a=1, b=2)
    assert world.call("a", "a") == "a a"
    assert world.call("b", "b") == "", "the other instance answers"
    world.wait("b", "b", number=1)
    assert world.call("b", "b") == "b b", "the other instance waits for this one"


def test_over_others() -> None:
    world = World(a=1, b=1, c=1)
    world.wait("a", "b", runs_on=world.instance("b"))
    assert world.call("b", "c") == ""
    world.wait("b", "c", runs_on=world.instance("c"))
    assert world.call("c", "a") == "c a b c"
    assert world.call("c", "b") == "c b c"


def test_who_is_free_ends_every_circle() -> None:
    world = World(a=1, b=2)
    world.wait("a", "b", runs_on=world.instance("b", 0))
    world.wait("b", "a", number=1)
    assert world.call("b", "a") == "b a b"
    free = World(a=2, b=1)
    free.wait("a", "b", runs_on=free.instance("b"))
    assert free.call("b", "a") == "", "the second instance of a is free"


def test_what_was_sent_waits_for_its_own_instance_alone() -> None:
    world = World(a=1, b=2)
    world.wait("a", "b", runs_on=world.instance("b", 1))
    assert world.call("b", "a", number=0) == "", "a's request runs on the other instance of b"
    assert world.call("b", "a", number=1) == "b a b"


def test_answers_that_have_come_are_waited_for_no_more() -> None:
    world = World(a=1, b=1)
    world.wait("a", "b", runs_on=world.instance("b"), ended=True)
    assert world.call("b", "a") == ""


def test_through_an_ensemble() -> None:
    world = World(a=1, step=1, ensemble=0)
    world.models["ensemble"].steps = [world.models["step"], world.models["a"]]
    assert world.call("a", "ensemble") == "a ensemble a"
    assert world.call("step", "ensemble") == "step ensemble step"
    world.models["ensemble"].steps = [world.models["step"]]
    assert world.call("a", "ensemble") == ""


def test_instances_that_are_gone_are_no_way_out() -> None:
    world = World(a=2)
    world.instance("a", 1).calls = None
    assert world.call("a", "a") == "a a"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12), st.integers(0, 4), st.integers(0, 4))
def test_as_a_search_in_a_graph_says(waits: list[tuple[int, int]], caller: int, target: int) -> None:
    """With one instance each, and every request sent: a circle is a path from the target back to the caller."""
    names = [f"m{number}" for number in range(5)]
    world = World(**dict.fromkeys(names, 1))
    for who, whom in waits:
        world.wait(names[who], names[whom], runs_on=world.instance(names[whom]))
    reached, frontier = {target}, [target]
    while frontier:
        at = frontier.pop()
        if at == caller:
            continue
        for who, whom in waits:
            if who == at and whom not in reached:
                reached.add(whom)
                frontier.append(whom)
    acyclic = not _has_circle(waits)
    found = world.call(names[caller], names[target]) if acyclic else ""
    assert not acyclic or bool(found) == (caller in reached)


def _has_circle(waits: list[tuple[int, int]]) -> bool:
    left = set(range(5))
    while free := {who for who in left if not any(a == who and b in left for a, b in waits)}:
        left -= free
    return bool(left)
