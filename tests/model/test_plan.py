"""How much has to start anew, and what a load request may bring along."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.controlplane.overrides import Override, parse
from pyserver.errors import ServerError
from pyserver.model.plan import Change, Plan, change
from pyserver.proto.model_config import ModelConfig
from pyserver.repository.fingerprint import Fingerprint
from pyserver.repository.folder import ModelFolder

FOLDER = ModelFolder("m", Path("/r/m"), Path("/r"))


def plan(disk: Fingerprint | None, count: int = 1, batch: int = 0, **more: object) -> Plan:
    config = ModelConfig(name="m", max_batch_size=batch)
    config.instance_group.add(name="m_0", count=count)
    return Plan(FOLDER, config, (1,), disk, **more)  # type: ignore[arg-type]


OLD = plan(Fingerprint("a", "a"))


def test_changes() -> None:
    assert change(None, OLD) is Change.ALL
    assert change(OLD, plan(Fingerprint("a", "a"))) is Change.NOTHING
    assert change(OLD, plan(Fingerprint("b", "a"), count=2)) is Change.INSTANCES
    assert change(OLD, plan(Fingerprint("b", "a"), count=2, batch=4)) is Change.ALL
    assert change(OLD, plan(Fingerprint("b", "b"), count=2)) is Change.ALL
    assert change(OLD, plan(Fingerprint("b", "a"))) is Change.ALL, "touched: that is how reloads are asked for"
    assert change(OLD, plan(Fingerprint("a", "a"), override="{}")) is Change.ALL
    assert change(OLD, plan(Fingerprint("a", "a"), count=2, override="{}")) is Change.INSTANCES
    assert change(plan(None), plan(None, override="{}")) is Change.ALL


def test_overrides() -> None:
    assert parse("m", {}, 10) is None
    assert parse("m", {"config": "{}"}, 10) == Override("{}")
    assert parse("m", {"config": "{}", "file:1/x": memoryview(b"abc")}, 3) == Override("{}", {"1/x": b"abc"})


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"foo": 1}, "unrecognized load parameter 'foo'"),
        ({"config": b"{}"}, "JSON text"),
        ({"file:1/x": b""}, "need a 'config' parameter"),
        ({"config": "{}", "file:1/x": "text"}, "expected the file's bytes"),
        ({"config": "{}", "file:1/x": b"ab", "file:1/y": b"ab"}, "its files have 4 bytes, the most is 3"),
    ],
)
def test_overrides_that_are_refused(parameters: dict[str, object], says: str) -> None:
    with pytest.raises(ServerError, match=says):
        parse("m", parameters, 3)
