from __future__ import annotations

import resource
from typing import Any

import pytest

from pyserver.frontend.descriptors import OTHERS, room_for


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "room", "raised"),
    [
        (1 << 20, 1 << 20, 16384, 16384, None),
        (1024, 1 << 20, 16384, 16384, 16384 + OTHERS),
        (1024, resource.RLIM_INFINITY, 16384, 16384, 16384 + OTHERS),
        (1024, 4096, 16384, 2048, 4096),
        (1024, 1024, 16384, 512, 1024),
        (1024, 20_000, 10_000, 10_000, 10_000 + OTHERS),
    ],
)
def test_room(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, connections: int, room: int, raised: int | None
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: said.append(limits))
    assert room_for(connections) == room
    assert said == ([] if raised is None else [(raised, hard)])
