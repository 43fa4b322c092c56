"""Environments of conda packages, solved and installed in earnest: packed by conda-pack, and built by the server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.e2e.test_environments import FLOWERS, FLOWERS_CONFIG, entries, options, settled, told
from tests.support.clients import infer_json, tensor
from tests.support.environments import NEW, NEW_PREFIX, write_telling
from tests.support.repositories import write_model
from tools import conda_channel
from tools.environments import cache_folder, interpreters
from tools.packed import missing, pack

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.ours,
    pytest.mark.timeout(900),
]  # the first time the channel has to be made

OLD = ("numpy==1.24.4", "scikit-learn==0.24.2", "scipy==1.10.1", "joblib==1.3.2", "threadpoolctl==3.1.0")
NEW_PYTHON = f"{NEW[0]}.{NEW[1]}"


@pytest.fixture(scope="module")
def channel() -> Path:
    if (3, 8) not in interpreters():
        pytest.skip("there is no CPython 3.8 on this machine")
    if needed := missing():
        pytest.skip(f"{needed} is not installed")
    pythons = {"3.8": interpreters()[3, 8], NEW_PYTHON: interpreters()[NEW]}
    return conda_channel.channel("tests", pythons, {"3.8": OLD, NEW_PYTHON: ("numpy",)})


def archive(name: str, channel: Path, wanted: list[str], suffix: str) -> Path:
    """An environment with these packages, packed."""
    prefix = conda_channel.installed(name, channel, wanted)
    packed = cache_folder() / f"conda-{name}.{suffix}"
    if not packed.exists() or packed.stat().st_mtime < prefix.with_name(f"conda-{name}.yml").stat().st_mtime:
        pack(prefix, packed)
    return packed


def rewritten(prefix: Path) -> None:
    """The installer wrote where it had put the packages, conda-unpack wrote where they lie now."""
    assert (prefix / conda_channel.TEXT).read_text() == f"{prefix}/lib\n"
    binary = (prefix / conda_channel.BINARY).read_bytes()
    assert binary.rstrip(b"end").rstrip(b"\0") == os.fsencode(prefix), "a path in a binary file is padded"


def test_old_and_newest_side_by_side(serve: Serve, tmp_path: Path, channel: Path) -> None:
    """CPython 3.8, numpy 1.24 and scikit-learn 0.24.2 beside the newest Python, with records of every package."""
    old = archive(
        "old",
        channel,
        ["python=3.8", "numpy=1.24.4", "scikit-learn=0.24.2", "scipy", "joblib", "threadpoolctl"],
        "tar.gz",
    )
    new = archive("new", channel, [f"python={NEW_PYTHON}", "numpy"], "tar.zst")
    write_model(tmp_path / "models", "flowers", FLOWERS, FLOWERS_CONFIG.format(environment=old, count=2))
    write_telling(tmp_path / "models", "old", old)
    write_telling(tmp_path / "models", "new", new)
    cache = tmp_path / "cache"
    server = serve(tmp_path / "models", ready=False, options=options(cache))
    server.wait_ready(300)
    assert len(entries(cache)) == 2
    flowers = tensor("FLOWERS", "FP64", [2, 4], [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
    answer = infer_json(server, "flowers", {"inputs": [flowers]})
    assert answer.status == 200, answer
    outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
    assert outputs == {"NAMES": ["setosa", "virginica"], "SKLEARN": ["0.24.2"]}
    said = told(server, "old")
    assert (said["python"][:4], said["numpy"]) == ("3.8.", "1.24.4")
    assert told(server, "new")["python"].startswith(NEW_PREFIX)
    for model in ("old", "new"):
        prefix = Path(told(server, model)["prefix"])
        assert prefix.is_relative_to(cache)
        rewritten(prefix)


def test_an_environment_file_beside_a_model(serve: Serve, tmp_path: Path, channel: Path) -> None:
    """Made once by what is called micromamba in PATH, for both models that want the same; what can't be says why."""
    tools = tmp_path / "bin"
    tools.mkdir()
    quoted = " ".join(f"'{word}'" for word in conda_channel.installer())
    (tools / "micromamba").write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    (tools / "micromamba").chmod(0o755)
    for name, wanted in (("one", "numpy=1.24.4"), ("two", "numpy=1.24.4"), ("never", "numpy=0.1")):
        model = write_telling(tmp_path / "models", name, "", count=2)
        (model / "environment.yml").write_text(conda_channel.environment_file(channel, ["python=3.8", wanted]))
    cache = tmp_path / "cache"
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    server = serve(
        tmp_path / "models",
        ready=False,
        options=options(cache, "--build-environments", "--strict-readiness=false"),
        env={"PATH": path},
    )
    assert [settled(server, name, 300)["state"] for name in ("one", "two")] == ["READY", "READY"]
    prefixes = {told(server, name)["prefix"] for name in ("one", "two")}
    assert len(prefixes) == 1
    prefix = Path(prefixes.pop())
    assert prefix.is_relative_to(cache)
    assert told(server, "one")["numpy"] == "1.24.4"
    rewritten(prefix)
    assert sorted(path.name.split("-")[0] for path in (prefix / "conda-meta").glob("*.json")) == ["numpy", "python"]
    reason = settled(server, "never")["reason"]
    assert "numpy 0.1" in reason
    assert len(entries(cache)) == 1
