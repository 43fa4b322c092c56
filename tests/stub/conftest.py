"""Stubs in real processes, under this interpreter and under whichever others the machine has."""

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stub.driver import Driver

OTHERS = ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14")
ENVIRONMENTS = "PYSERVER_TEST_ENVIRONMENTS"
"""Names a folder in which numpy, once installed for an interpreter, is kept for the next run."""

Start = Callable[..., Driver]


def interpreter(version: str) -> str | None:
    """The path of an interpreter of this version."""
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    found = sorted(glob.glob(f"{root}/versions/{version}.*/bin/python{version}"))
    return found[-1] if found else shutil.which(f"python{version}")


def numpy_for(version: str, folder: Path) -> str:
    """Install numpy for this version of CPython into a folder of its own; a reason for why that can't be, or ""."""
    if (folder / "numpy").is_dir():
        return ""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--python-version", version, "--target", f"{folder}.tmp", "numpy"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    except subprocess.SubprocessError as error:
        return f"numpy for CPython {version} cannot be installed: {getattr(error, 'stderr', error)}"
    os.rename(f"{folder}.tmp", folder)
    return ""


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get(ENVIRONMENTS)
    return Path(given) if given else tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session", params=["this", *OTHERS])
def python(request: pytest.FixtureRequest, environments: Path) -> tuple[str, dict[str, str]]:
    """An interpreter and the environment variables under which it finds numpy."""
    version: str = request.param
    if version == "this":
        return sys.executable, {}
    path = interpreter(version)
    if path is None:
        pytest.skip(f"no CPython {version} here")
    works = subprocess.run([path, "-c", "import sys; print(sys.version)"], capture_output=True, text=True)
    if not works.stdout.startswith(f"{version}."):
        pytest.skip(f"{path} is not a CPython {version}")
    folder = environments / f"numpy-{version}"
    reason = numpy_for(version, folder)
    if reason:
        pytest.skip(reason)
    return path, {"PYTHONPATH": str(folder)}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts stubs; what is still running at the end of the test is killed."""
    drivers = []

    def started(python: tuple[str, dict[str, str]] = (sys.executable, {})) -> Driver:
        driver = Driver(tmp_path / f"model{len(drivers)}", *python)
        drivers.append(driver)
        return driver

    yield started
    for driver in drivers:
        driver.close()
