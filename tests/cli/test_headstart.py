"""What `pyserver serve` starts before it imports the server."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyserver.cli import headstart, serve
from pyserver.instance.forkprocess import ForkProcess, Kind
from pyserver.settings import Settings


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    yield
    gc.enable()


def end(begun: ForkProcess, at_once: bool = False) -> None:
    begun.sock.close()
    if at_once:
        begun.process.kill()
    begun.process.wait()


def test_the_server_is_given_what_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def serve_nothing(*arguments: Any) -> int:
        given.extend(arguments)
        return 7

    monkeypatch.setattr("pyserver.server.process.serve", serve_nothing)
    monkeypatch.setattr("pyserver.cli.log.configure", lambda *_: None)
    assert serve.main(["--model-repository", str(tmp_path)]) == 7
    begun = given[-1]
    assert begun.kind == Kind.usual()
    assert not gc.isenabled()
    end(begun)
    assert begun.process.returncode == 0


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({}, True),
        ({"model_control_mode": "poll"}, True),
        ({"model_control_mode": "explicit"}, False),
        ({"model_control_mode": "explicit", "load_model": ("m",)}, True),
        ({"fork_stubs": False}, False),
    ],
)
def test_it_begins_where_models_may_be_forked(how: dict[str, Any], wanted: bool) -> None:
    begun = headstart.begin(Settings(**how))
    assert (begun is not None) is wanted
    if begun is not None:
        end(begun, at_once=True)
