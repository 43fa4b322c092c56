"""The real Triton and pyserver on the same repository, asked the same questions: answers equal field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serve
from tests.parity.differences import DIFFERENCES, Difference
from tests.parity.exchanges import EXCHANGES, Exchange
from tests.support.repositories import MODELS
from tools.process import ServerProcess
from tools.triton import TritonServer

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]  # the first time Triton has to be installed

ABSENT = "(absent)"


@pytest.fixture(scope="module")
def triton() -> Iterator[ServerProcess]:
    with TritonServer(MODELS) as server:
        yield server


@pytest.fixture(scope="module")
def ours(make_server: Serve) -> Iterator[ServerProcess]:
    with make_server(MODELS) as server:
        yield server


@pytest.fixture(scope="module")
def used() -> set[Difference]:
    """The rows of the table that a comparison has needed."""
    return set()


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a tree with their paths; an empty list or object is a value."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list) and tree:
        for number, value in enumerate(tree):
            yield from leaves(value, f"{path}.{number}")
    else:
        yield path, tree


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in EXCHANGES])
def test_answers_are_equal(
    triton: ServerProcess, ours: ServerProcess, used: set[Difference], exchange: Exchange
) -> None:
    theirs, mine = dict(leaves(exchange.ask(triton))), dict(leaves(exchange.ask(ours)))
    unexplained = []
    for field in sorted(theirs.keys() | mine.keys()):
        expected, got = theirs.get(field, ABSENT), mine.get(field, ABSENT)
        if repr(expected) != repr(got):  # repr: NaN equals NaN, 1 is not 1.0
            reasons = {row for row in DIFFERENCES if row.covers(exchange.name, field, got, expected)}
            used |= reasons
            if not reasons:
                unexplained.append(f"{field}: ours {got!r}, Triton's {expected!r}")
    assert not unexplained, "\n".join(["", *unexplained])


def test_every_intended_difference_is_one(used: set[Difference], request: pytest.FixtureRequest) -> None:
    """A row that no answer needed is stale."""
    if request.config.getoption("--server") == "triton":
        pytest.skip("Triton does not differ from itself")
    asked = sum(
        item.originalname == "test_answers_are_equal"
        for item in request.session.items
        if isinstance(item, pytest.Function)
    )
    if asked < len(EXCHANGES):
        pytest.skip("not all questions were asked")
    assert [row for row in DIFFERENCES if row not in used] == []
