"""Models in packed environments of other Pythons, served side by side by a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients import ask, constant, index, infer_json, tensor
from tests.support.environments import (
    NEW_PREFIX,
    bare,
    numpy_on_new_python,
    pack_tar,
    private_disk,
    sklearn_on_old_python,
    write_small_environment,
    write_telling,
)
from tests.support.repositories import write_constant, write_model
from tools import proc
from tools.process import ServerProcess

pytestmark = [pytest.mark.ours, pytest.mark.timeout(400)]  # the first time the environments have to be made


FLOWERS = """
import numpy as np
import sklearn
import triton_python_backend_utils as pb_utils
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier


class TritonPythonModel:
    def initialize(self, args):
        data = load_iris()
        self.names = data.target_names
        self.forest = RandomForestClassifier(10, random_state=0).fit(data.data, data.target)

    def execute(self, requests):
        responses = []
        for request in requests:
            flowers = pb_utils.get_input_tensor_by_name(request, "FLOWERS").as_numpy()
            names = self.names[self.forest.predict(flowers)].astype(np.object_)
            version = np.array([sklearn.__version__], np.object_)
            tensors = [pb_utils.Tensor("NAMES", names), pb_utils.Tensor("SKLEARN", version)]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
"""
FLOWERS_CONFIG = """
backend: "python"
input {{ name: "FLOWERS" data_type: TYPE_FP64 dims: [ -1, 4 ] }}
output {{ name: "NAMES" data_type: TYPE_STRING dims: [ -1 ] }}
output {{ name: "SKLEARN" data_type: TYPE_STRING dims: [ 1 ] }}
instance_group {{ count: {count} kind: KIND_CPU }}
version_policy {{ all {{ }} }}
parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{environment}" }} }}
"""

EXPLICIT = ("--model-control-mode", "explicit")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of this file fill for each other."""
    return tmp_path_factory.mktemp("environments")


def options(cache: Path, *more: str) -> tuple[str, ...]:
    return ("--environment-cache", str(cache), "--exit-on-error", "false", *more)


def told(server: ServerProcess, model: str) -> dict[str, Any]:
    """What a model of `write_telling` says of itself."""
    answer = infer_json(server, model, {"inputs": [tensor("ASKED", "BOOL", [1], [True])]})
    assert answer.status == 200, answer
    said: dict[str, Any] = json.loads(answer.json["outputs"][0]["data"][0])
    return said


def entries(cache: Path) -> list[Path]:
    """What is in a cache but its own books."""
    return sorted(path for path in cache.iterdir() if path.name not in ("locks", "known")) if cache.exists() else []


def settled(server: ServerProcess, model: str, timeout: float = 60) -> dict[str, str]:
    """The index's entry of a model that is not loading any more."""

    def found() -> dict[str, str]:
        return next((entry for (name, _), entry in index(server).items() if name == model), {})

    server.wait_until(lambda: found().get("state") in {"READY", "UNAVAILABLE"}, timeout, f"to have tried {model}")
    return found()


def test_old_and_new_side_by_side(serve: Serve, tmp_path: Path, warm_cache: Path) -> None:
    """Two models, two versions, two instances in one archive: unpacked once, its progress to be seen meanwhile."""
    old, new = sklearn_on_old_python(), numpy_on_new_python()
    for name, versions, count in (("flowers", (1,), 2), ("more_flowers", (1, 2), 1)):
        for version in versions:
            write_model(tmp_path, name, FLOWERS, FLOWERS_CONFIG.format(environment=old, count=count), version)
    write_telling(tmp_path, "new", new)
    write_constant(tmp_path, "plain")
    server = serve(tmp_path, ready=False, options=options(warm_cache))
    reasons, slowest = watched(server)
    assert slowest < 1, "health answers while environments are unpacked"
    seen = [re.search(rf"unpacking {old.name}: ([\d.]+) of ([\d.]+) MB", reason) for reason in reasons]
    done = [float(found[1]) for found in seen if found]
    assert len(set(done)) > 2, reasons
    assert done == sorted(done)
    assert len([line for line in server.lines if f"{old}': preparing" in line]) == 1
    assert len(entries(warm_cache)) == 2
    for model in ("flowers", "more_flowers/versions/1"):
        flowers = tensor("FLOWERS", "FP64", [2, 4], [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
        answer = infer_json(server, model, {"inputs": [flowers]})
        assert answer.status == 200, answer
        outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
        assert outputs == {"NAMES": ["setosa", "virginica"], "SKLEARN": ["0.24.2"]}
    assert told(server, "new")["python"].startswith(NEW_PREFIX)
    assert constant(server, "plain") == 1


def watched(server: ServerProcess) -> tuple[list[str], float]:
    """Wait until the server is ready: the reasons that its index gave meanwhile, and its slowest answer (seconds)."""
    reasons: list[str] = []
    slowest = 0.0
    while not server.is_ready():
        asked = time.monotonic()
        assert server.get("/v2/health/live")[0] == 200
        for (name, _), entry in index(server).items():
            if name == "flowers" and entry.get("state") == "LOADING":
                reasons.append(entry.get("reason", ""))
        slowest = max(slowest, time.monotonic() - asked)
        assert not server.exited(0.02), server.log
    return reasons, slowest


def test_a_second_server_finds_it_ready(serve: Serve, tmp_path: Path, warm_cache: Path) -> None:
    environment = numpy_on_new_python()
    write_telling(tmp_path / "first", "new", environment)
    serve(tmp_path / "first", options=options(warm_cache))
    write_constant(tmp_path / "plain", "new")
    write_telling(tmp_path / "second", "new", environment, count=2)
    took = {}
    for name in ("plain", "second"):
        began = time.monotonic()
        server = serve(tmp_path / name, options=options(warm_cache))
        took[name] = time.monotonic() - began
    assert took["second"] < took["plain"] + 2
    assert "preparing" not in server.log
    said = told(server, "new")
    variables = said["environ"]
    assert said["prefix"] == variables["CONDA_PREFIX"]
    assert Path(said["prefix"]).is_relative_to(warm_cache)
    assert variables["PATH"].split(":")[0] == f"{said['prefix']}/bin"
    assert (variables["PYTHONNOUSERSITE"], variables["PYTHONDONTWRITEBYTECODE"]) == ("1", "1")


def test_what_the_servers_own_environment_sets_does_not_reach_the_model(
    serve: Serve, tmp_path: Path, warm_cache: Path
) -> None:
    write_telling(tmp_path / "models", "new", numpy_on_new_python())
    (tmp_path / "numpy.py").write_text("raise ImportError('the wrong numpy')")
    foreign = {"PYTHONPATH": f"{os.getcwd()}:{tmp_path}/nothing", "VIRTUAL_ENV": "/x", "CONDA_SHLVL": "3"}
    server = serve(tmp_path / "models", options=options(warm_cache), env=foreign)
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "CONDA_SHLVL", "PYTHONHOME"} & set(told(server, "new")["environ"])


def test_paths_of_all_forms(serve: Serve, tmp_path: Path, cache: Path) -> None:
    """A folder, an archive beside the model, one behind a link; a folder is used where it is and stays as it was."""
    folder = write_small_environment(tmp_path / "environment")
    hooks = folder / "etc/conda/activate.d"
    hooks.mkdir(parents=True)
    (hooks / "1.sh").write_text('export FROM_HOOK="$CONDA_PREFIX/data"\nexport PATH="/hooked:$PATH"\necho noise\n')
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta/state").write_text('{"env_vars": {"FROM_STATE": "yes"}}')
    before = sorted(folder.rglob("*"))
    models = tmp_path / "models"
    write_telling(models, "folder", folder)
    model = write_telling(models, "archive", "$$TRITON_MODEL_DIRECTORY/env.tar.gz", count=2)
    pack_tar(folder, model / "env.tar.gz")
    (write_telling(models, "link", "$$TRITON_MODEL_DIRECTORY/link") / "link").symlink_to(model / "env.tar.gz")
    server = serve(models, options=options(cache))
    for name in ("folder", "archive", "link"):
        variables = told(server, name)["environ"]
        place = Path(variables["CONDA_PREFIX"])
        assert variables["FROM_STATE"] == "yes"
        assert variables["FROM_HOOK"] == f"{place}/data"
        assert variables["PATH"].startswith(f"/hooked:{place}/bin:")
    assert sorted(folder.rglob("*")) == before
    assert len(entries(cache)) == 1


BAD_PATHS = {
    "relative": ("env.tar.gz", "is a relative path, expected an absolute one or one that begins with $$TRITON_MODEL"),
    "outside": ("$$TRITON_MODEL_DIRECTORY/../other/env.tar.gz", "leads out of the model's folder"),
    "missing": ("/nowhere/env.tar.gz", "Failed to get the canonical path for env.tar.gz"),
}


def test_what_is_broken_says_why_and_harms_nobody(serve: Serve, tmp_path: Path, cache: Path) -> None:
    models = tmp_path / "models"
    says = {name: why for name, (_, why) in BAD_PATHS.items()}
    for name, (path, _) in BAD_PATHS.items():
        write_telling(models, name, path)
    small = write_small_environment(tmp_path / "small")
    whole = pack_tar(small, tmp_path / "whole.tar.gz")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text.tar.gz").write_text("this is no archive")
    said = '{{"version": "3.6.1", "platform": "linux", "numpy": ""}}'
    old = write_small_environment(tmp_path / "dated", f"printf '\\n%s' '{said}'")
    glibc = write_small_environment(
        tmp_path / "newer", 'echo "python: libc.so.6: version \\`GLIBC_2.99\' not found" >&2; exit 1'
    )
    alien = write_small_environment(tmp_path / "alien")
    (alien / "bin/python").write_bytes(b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xb7\0" + bytes(44))
    cases = {
        "cut": (cut, "damaged or cut off"),
        "text": (tmp_path / "text.tar.gz", "is not an archive of a known kind"),
        "dated": (pack_tar(old, tmp_path / "dated.tar.gz"), "Python 3.6.1 is too old, expected 3.8 or newer"),
        "newer": (pack_tar(glibc, tmp_path / "newer.tar.gz"), "GLIBC_2.99' not found"),
        "alien": (pack_tar(alien, tmp_path / "alien.tar.gz"), "it is a program for aarch64, and this is x86_64"),
    }
    for name, (archive, why) in cases.items():
        write_telling(models, name, archive)
        says[name] = why
    write_constant(models, "plain")
    server = serve(models, ready=False, options=options(cache))
    began = time.monotonic()
    reasons = {name: settled(server, name)["reason"] for name in says}
    assert time.monotonic() - began < 5, "all of them together"
    assert settled(server, "plain")["state"] == "READY"
    for name, why in says.items():
        assert why in reasons[name]
        assert f"model '{name}'" in reasons[name]
    for name in ("dated", "newer", "alien"):
        assert re.search(r"interpreter python \(Python", reasons[name])
    server.wait_until(lambda: entries(cache) == [], 10, "to remove what is of no use")
    assert constant(server, "plain") == 1


def test_an_interpreter_without_numpy(serve: Serve, tmp_path: Path, cache: Path) -> None:
    """A real environment: the error has the interpreter, its version, the platform, and the line that failed."""
    write_telling(tmp_path / "models", "bare", bare())
    write_constant(tmp_path / "models", "plain")
    server = serve(tmp_path / "models", ready=False, options=options(cache, *EXPLICIT))
    answer = ask(server, "POST", "/v2/repository/models/bare/load")
    assert answer.status == 400, answer
    version = re.escape(NEW_PREFIX)
    assert re.search(rf"interpreter python \(Python {version}\d+, Linux-.*, numpy none\)", answer.error)
    assert "ModuleNotFoundError: No module named 'numpy'" in answer.error
    server.wait_until(lambda: entries(cache) == [], 10, "to remove what is of no use")
    assert ask(server, "POST", "/v2/repository/models/plain/load").status == 200
    assert constant(server, "plain") == 1


def test_a_module_that_the_environment_lacks(serve: Serve, tmp_path: Path, warm_cache: Path) -> None:
    write_telling(tmp_path, "lacking", numpy_on_new_python(), imports="import pandas")
    server = serve(tmp_path, ready=False, options=options(warm_cache))
    reason = settled(server, "lacking")["reason"]
    assert "No module named 'pandas'" in reason
    assert re.search(r"run by interpreter python \(Python .*numpy \d", reason)
    assert len(entries(warm_cache)) >= 1, "the environment itself is in order"


def unpacking(server: ServerProcess, name: str) -> None:
    """Wait until the index says that a model's environment is being unpacked."""

    def half() -> bool:
        return any(
            "unpacking" in entry.get("reason", "") for (model, _), entry in index(server).items() if model == name
        )

    server.wait_until(half, 30, "to unpack")


def test_sigterm_while_an_environment_is_unpacked(serve: Serve, tmp_path: Path, cache: Path) -> None:
    write_telling(tmp_path / "models", "big", sklearn_on_old_python())
    server = serve(tmp_path / "models", ready=False, options=options(cache))
    unpacking(server, "big")
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 3
    assert not list(cache.glob("*/complete.json"))


def test_kill_while_an_environment_is_unpacked(serve: Serve, make_server: Serve, tmp_path: Path, cache: Path) -> None:
    """Nothing of the server goes on, and the next one takes over what is left."""
    write_telling(tmp_path / "models", "new", numpy_on_new_python())
    first = make_server(tmp_path / "models", options=options(cache)).start(ready=False)
    unpacking(first, "new")
    family = proc.tree(first.pid)
    assert len(family) > 1 + len(proc.fork_servers(first.pid)), "the worker"
    first.kill()
    deadline = time.monotonic() + 5
    while any(proc.alive(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(proc.alive(pid) for pid in family)
    assert not list(cache.glob("*/complete.json"))
    server = serve(tmp_path / "models", options=options(cache))
    assert told(server, "new")["python"].startswith(NEW_PREFIX)
    server.wait_until(lambda: len(entries(cache)) == 1, 20, "to clear away what was left")


def test_a_worker_that_is_killed(serve: Serve, tmp_path: Path, cache: Path) -> None:
    """The load fails with the reason."""
    write_telling(tmp_path / "models", "new", numpy_on_new_python())
    server = serve(
        tmp_path / "models",
        ready=False,
        options=options(cache, *EXPLICIT, "--load-model", "new"),
    )
    unpacking(server, "new")
    (worker,) = set(proc.children(server.pid)) - set(proc.fork_servers(server.pid))
    os.kill(worker, signal.SIGKILL)
    assert "ended with status -9" in settled(server, "new")["reason"]
    assert not list(cache.glob("*/complete.json"))


@pytest.mark.heavy
def test_two_servers_at_once(serve: Serve, tmp_path: Path, cache: Path) -> None:
    write_telling(tmp_path / "models", "new", numpy_on_new_python(), count=2)
    servers = [serve(tmp_path / "models", ready=False, options=options(cache)) for _ in range(2)]
    for server in servers:
        server.wait_ready()
    assert len({told(server, "new")["prefix"] for server in servers}) == 1
    assert len(entries(cache)) == 1


def test_a_full_disk(make_server: Serve, tmp_path: Path, cache: Path) -> None:
    on_disk: Callable[[Path, int, list[str]], list[str]] = private_disk()
    write_telling(tmp_path / "models", "new", numpy_on_new_python())
    write_constant(tmp_path / "models", "plain")
    server = make_server(tmp_path / "models", options=options(cache))
    server.command = on_disk(cache, 60 << 20, server.command)
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start(ready=False)
        reason = settled(server, "new")["reason"]
        found = re.search(r"No space left on device .* needs about (\d+) MB, has (\d+) MB", reason)
        assert found, reason
        assert int(found[1]) > int(found[2]) > 40
        assert constant(server, "plain") == 1
        inside = Path(f"/proc/{server.pid}/root{cache}")
        server.wait_until(lambda: shutil.disk_usage(inside).used < 1 << 20, 10, "to remove the half environment")
        server.stop()


def with_uv() -> dict[str, str]:
    """uv lies beside the interpreter that it was installed by, if it was."""
    return {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


@pytest.mark.parametrize("allowed", [True, False])
def test_requirements_beside_the_model(serve: Serve, tmp_path: Path, cache: Path, allowed: bool) -> None:
    """Built once, for both models with the same list, and only if that is allowed."""
    for name in ("one", "two"):
        model = write_telling(tmp_path / "models", name, "", count=2)
        (model / "requirements.txt").write_text("numpy\n# and nothing else\n")
    server = serve(
        tmp_path / "models", options=options(cache, "--build-environments", str(allowed).lower()), env=with_uv()
    )
    prefixes = {told(server, name)["prefix"] for name in ("one", "two")}
    assert len(prefixes) == 1
    assert Path(prefixes.pop()).is_relative_to(cache) == allowed
    assert len(entries(cache)) == allowed
    assert ("--build-environments=true allows it" in server.log) == (not allowed)


def test_requirements_that_cannot_be_installed(serve: Serve, tmp_path: Path, cache: Path) -> None:
    model = write_telling(tmp_path / "models", "wrong", "")
    (model / "requirements.txt").write_text("./not-there\n")
    (write_telling(tmp_path / "models", "conda", "") / "environment.yml").write_text("dependencies: [numpy]\n")
    server = serve(tmp_path / "models", ready=False, options=options(cache, "--build-environments"), env=with_uv())
    assert "not-there" in settled(server, "wrong")["reason"]
    if not any(map(shutil.which, ("micromamba", "mamba", "conda"))):
        assert "it takes one of micromamba, mamba, conda" in settled(server, "conda")["reason"]
    server.wait_until(lambda: entries(cache) == [], 10, "to remove what is of no use")
