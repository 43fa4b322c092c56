"""A cache of our own, and environments that are small."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.environment.cache import Cache
from tests.support.environments import pack_tar, write_small_environment


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small packed environment that runs the tests' own interpreter."""
    return pack_tar(write_small_environment(tmp_path / "small"), tmp_path / "small.tar.gz")
