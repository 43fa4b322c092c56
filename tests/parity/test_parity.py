"""The real Triton and pyserver on the same repository, asked the same questions: answers equal field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.comparing import Difference, compare
from tests.parity.differences import DIFFERENCES
from tests.parity.exchanges import EXCHANGES, Exchange
from tests.support.repositories import MODELS
from tools.process import ServerProcess

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]  # the first time Triton has to be installed


@pytest.fixture(scope="module")
def repository() -> Path:
    return MODELS


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in EXCHANGES])
def test_answers_are_equal(
    triton: ServerProcess, ours: ServerProcess, used: set[Difference], exchange: Exchange
) -> None:
    compare(exchange.name, exchange.ask(ours), exchange.ask(triton), DIFFERENCES, used)


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
