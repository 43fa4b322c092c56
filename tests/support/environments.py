"""Real packed environments for the tests, and models that run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.repositories import write_model
from tools.environments import interpreters
from tools.packed import listed, missing, packed

ENVIRONMENTS = Path(__file__).parent.parent.parent / "conda/environments"
NEW = max(interpreters())
NEW_PREFIX = f"{NEW[0]}.{NEW[1]}."

SOURCE = """
import json, os, platform, sys
import numpy as np
import triton_python_backend_utils as pb_utils
{imports}

class TritonPythonModel:
    def execute(self, requests):
        said = {{"python": platform.python_version(), "numpy": np.__version__, "prefix": sys.prefix,
                 "environ": dict(os.environ), "pid": os.getpid()}}
        tensor = pb_utils.Tensor("SAID", np.array([json.dumps(said)], np.object_))
        return [pb_utils.InferenceResponse([tensor]) for _ in requests]
"""
CONFIG = """
backend: "python"
input {{ name: "ASKED" data_type: TYPE_BOOL dims: [ 1 ] }}
output {{ name: "SAID" data_type: TYPE_STRING dims: [ 1 ] }}
instance_group {{ count: {count} kind: KIND_CPU }}
parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{environment}" }} }}
"""


def sklearn_on_old_python() -> Path:
    """CPython 3.8 with numpy 1.24 and scikit-learn 0.24.2, packed."""
    return archive("sklearn-python3.8")


def mlserver_on_old_python() -> Path:
    """As `sklearn_on_old_python`, with the pydantic that MLServer's types take."""
    return archive("mlserver-sklearn-python3.8")


def numpy_on_new_python() -> Path:
    """The newest CPython of this machine with its newest numpy, packed."""
    return archive("numpy-newest")


def bare() -> Path:
    """The newest CPython with nothing else, packed."""
    return archive("bare-newest")


def archive(name: str, suffix: str = "tar.gz") -> Path:
    """The environment of conda/environments/NAME.yml, packed; the test is skipped where it can't be made."""
    wanted = listed(ENVIRONMENTS / f"{name}.yml")
    version = wanted.version or NEW
    if version not in interpreters():
        pytest.skip(f"there is no CPython {version[0]}.{version[1]} on this machine")
    if needed := missing():
        pytest.skip(f"{needed} is not installed")
    return packed(wanted.name, interpreters()[version], wanted.requirements, suffix)


def write_telling(repository: Path, name: str, environment: Path | str, count: int = 1, imports: str = "") -> Path:
    """A model that tells what it runs in."""
    config = CONFIG.format(environment=environment, count=count)
    return write_model(repository, name, SOURCE.format(imports=imports), config)


def write_small_environment(folder: Path, program: str = 'exec "{python}" "$@"') -> Path:
    """A folder that is an environment in all but size: its interpreter is a script that runs the tests' own."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin/python"
    python.write_text("#!/bin/sh\n" + program.format(python=sys.executable) + "\n")
    python.chmod(0o755)
    (folder / "lib").mkdir()
    for number in range(20):
        (folder / f"lib/file{number}").write_bytes(bytes([number]) * 1000)
    return folder


def pack_tar(folder: Path, target: Path) -> Path:
    """The files in `folder`, packed by Python's own tarfile."""
    with tarfile.open(target, "w:gz") as tar:
        tar.add(folder, ".")
    return target


def private_disk() -> Callable[[Path, int, list[str]], list[str]]:
    """Makes a command line that runs another one with a disk of so many bytes at a folder of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a disk of our own takes unshare and user namespaces")

    def command(folder: Path, size: int, inner: list[str]) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        script = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
        return ["unshare", "-rm", "sh", "-c", script, os.fspath(folder), *inner]

    return command
