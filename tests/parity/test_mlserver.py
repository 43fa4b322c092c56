"""The real MLServer and pyserver with the same runtimes, asked the same questions: answers equal field by field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parity.comparing import Difference, compare
from tests.parity.mlserver import DIFFERENCES, EXCHANGES, Exchange, RealMLServer, write_folder
from tests.support.runtimes import write_runtime
from tools.process import ServerProcess

pytestmark = [pytest.mark.parity, pytest.mark.ours, pytest.mark.timeout(300)]

NAMES = ("Echo", "Decoded", "Frame", "Heard", "Broken", "Streams")
META: dict[str, Any] = {
    "platform": "plat",
    "versions": ["sklearn/1.0"],
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"content_type": "np"}}],
    "parameters": {"content_type": "np", "version": "v1"},
}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("real")
    for name in NAMES:
        write_folder(folder, name.lower(), name)
    write_folder(folder, "meta", "Meta", **META)
    with RealMLServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    for name in NAMES:
        write_runtime(folder, name.lower(), f"runtimes.{name}")
    write_runtime(folder, "meta", "runtimes.Meta", **META)
    return folder


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in EXCHANGES])
def test_answers_are_equal(real: ServerProcess, ours: ServerProcess, used: set[Difference], exchange: Exchange) -> None:
    compare(exchange.name, exchange.ask(ours), exchange.ask(real), DIFFERENCES, used)


def test_every_intended_difference_is_one(used: set[Difference], request: pytest.FixtureRequest) -> None:
    """A row that no answer needed is stale."""
    asked = sum(getattr(item, "originalname", "") == "test_answers_are_equal" for item in request.session.items)
    if asked < len(EXCHANGES):
        pytest.skip("not all questions were asked")
    assert [row for row in DIFFERENCES if row not in used] == []
