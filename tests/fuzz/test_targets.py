"""A bounded run of what `python -m tests.fuzz.run` does for long: seeds, seeds broken in small ways, and noise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

BOUNDED = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    target = TARGETS[name]
    for seed in [*target.seeds, b"", b"\0", b"\xff" * 300]:
        target.feed(seed)


@pytest.mark.parametrize("name", TARGETS)
@given(st.data())
@BOUNDED
def test_seeds_with_accidents(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    broken = bytearray(data.draw(st.sampled_from(target.seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken)))
        piece = st.binary(max_size=4) | st.sampled_from([*target.words, b""])
        broken[at : at + data.draw(st.integers(0, 4))] = data.draw(piece)
    target.feed(bytes(broken))


@pytest.mark.parametrize("name", TARGETS)
@given(st.binary(max_size=64))
@BOUNDED
def test_noise(name: str, data: bytes) -> None:
    TARGETS[name].feed(data)
