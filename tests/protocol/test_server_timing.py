"""The Server-Timing header."""

from __future__ import annotations

import pytest

from pyserver.protocol.server_timing import encode, wanted

EVENTS = [
    ("QUEUE_START", 1_000_000), ("COMPUTE_START", 3_500_000), ("COMPUTE_INPUT_END", 3_600_000),
    ("COMPUTE_OUTPUT_START", 10_600_000), ("COMPUTE_END", 10_650_000),
]  # fmt: skip


def test_where_the_time_went() -> None:
    assert encode(EVENTS, 4, 12_000_000) == (
        'queue;dur=2.500, batch;desc="4", copy;dur=0.150, compute;dur=7.000, total;dur=12.000'
    )


def test_what_never_ran_has_a_total() -> None:
    assert encode([("REQUEST_START", 1)], 0, 500) == "total;dur=0.001"


@pytest.mark.parametrize(("value", "asks"), [(None, False), ("", False), ("0", False), (" False ", False), ("1", True)])
def test_who_asks(value: str | None, asks: bool) -> None:
    assert wanted(value) is asks
