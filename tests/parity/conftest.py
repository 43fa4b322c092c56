"""The two servers that are asked the same: a module says which `repository` they serve, and with which `options`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.parity.comparing import Difference
from tools.process import ServerProcess
from tools.triton import TritonServer


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    """What both are started with beside the repository."""
    return ()


@pytest.fixture(scope="module")
def triton(repository: Path, options: tuple[str, ...]) -> Iterator[ServerProcess]:
    """The real Triton."""
    with TritonServer(repository, options=options) as server:
        yield server


@pytest.fixture(scope="module")
def ours(make_server: Serve, repository: Path, options: tuple[str, ...]) -> Iterator[ServerProcess]:
    """This server."""
    with make_server(repository, options=options) as server:
        yield server


@pytest.fixture(scope="module")
def used() -> set[Difference]:
    """The rows of the module's table that a comparison has needed."""
    return set()
