"""The real MLServer and pyserver with the same runtimes, asked the same questions: answers equal field by field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.conftest import Serve
from tests.parity.comparing import Difference, compare
from tests.parity.mlserver import DIFFERENCES, EXCHANGES, Exchange, RealMLServer, write_folder
from tests.support.runtimes import module_of, write_runtime
from tests.support.talks import Talk, answered
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
        write_runtime(folder, name.lower(), f"{module_of(name)}.{name}")
    write_runtime(folder, "meta", "runtimes.Meta", **META)
    return folder


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in EXCHANGES])
def test_answers_are_equal(real: ServerProcess, ours: ServerProcess, used: set[Difference], exchange: Exchange) -> None:
    compare(exchange.name, exchange.ask(ours), exchange.ask(real), DIFFERENCES, used)


def test_a_whole_stream_is_one_call(make_server: Serve, tmp_path: Path) -> None:
    write_folder(tmp_path / "real", "talks", "Talks")
    write_runtime(tmp_path / "ours", "talks", "runtimes.Talks")
    heard = []
    with RealMLServer(tmp_path / "real", workers=0) as real, make_server(tmp_path / "ours") as ours:
        for server in (real, ours):
            with grpc.insecure_channel(server.grpc) as channel:
                heard.append(list(_talked(channel)))
    assert heard[0] == heard[1]


def _talked(channel: grpc.Channel) -> Iterator[Any]:
    """All that is heard in streams that are ended by the client, by the model, and by an error."""
    for end in (None, 0, -1):
        talk = Talk(channel)
        talk.say(1, identity="first")
        yield talk.hear()
        talk.say(2, 3, identity="second")
        response = next(talk.call)
        yield answered(response), response.id
        if end is not None:
            talk.say(end)
        with contextlib.suppress(grpc.RpcError):
            if end is None:
                talk.say_all()
            for response in talk.call:
                yield answered(response), response.id
        talk.say_all()
        yield talk.call.code(), talk.call.details()


def test_every_intended_difference_is_one(used: set[Difference], request: pytest.FixtureRequest) -> None:
    """A row that no answer needed is stale."""
    asked = sum(getattr(item, "originalname", "") == "test_answers_are_equal" for item in request.session.items)
    if asked < len(EXCHANGES):
        pytest.skip("not all questions were asked")
    assert [row for row in DIFFERENCES if row not in used] == []
