"""Builds the sdist and a wheel, installs the wheel under each CPython found, and asks it for an inference.

`python -m tools.installation` does it for 3.10 and newer; `--python 3.12` for one of them. The virtual environments
are fresh each time, and nothing of the checkout is on the path of what runs in them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tools.environments import interpreters
from tools.process import ServerProcess, pyserver_command

ROOT = Path(__file__).parent.parent
OLDEST = (3, 10)
IN_SDIST = (
    "csrc/pyserver/core/tensor.pyx",
    "csrc/pyserver/core/tensor.pxd",
    "csrc/pyserver/stub/_bytes.c",
    "csrc/compiled.ini",
    "proto/inference.proto",
    "backends/onnxruntime/model.py",
    "tests/conftest.py",
    "examples/demo.py",
    "Makefile",
    "LICENSE",
)
IN_WHEEL = (
    "pyserver/py.typed",
    "pyserver/core/tensor.cpython",
    "pyserver/core/tensor.pyi",
    "pyserver/compiled__mypyc.cpython",
    "pyserver/ipc/compiled__mypyc.cpython",
    "pyserver/ipc/messages.cpython",
    "pyserver/ipc/messages.py",
    "pyserver/proto/messages.desc",
    "pyserver/backends/onnxruntime/model.py",
    "pyserver/backends/mlserver_runtimes/mlserver_sklearn/__init__.py",
    "pyserver/stub/site/triton_python_backend_utils.py",
    "pyserver/stub/names/mlserver/__init__.py",
    "pyserver/cli/template/settings.json.in",
    "pyserver/cli/template/tests/test_runtime.py.in",
)
NOT_IN_WHEEL = ("tests/", "csrc/", "tools/", "examples/", "__pycache__", ".pyx", ".c")

BACKENDS = """
from pyserver.repository.backends import BUNDLED_BACKENDS
assert BUNDLED_BACKENDS.parent.name == "pyserver" and (BUNDLED_BACKENDS / "onnxruntime/model.py").is_file()
"""
ADD_SUB = {
    "inputs": [
        {"name": "INPUT0", "datatype": "FP32", "shape": [4], "data": [1, 2, 3, 4]},
        {"name": "INPUT1", "datatype": "FP32", "shape": [4], "data": [1, 1, 1, 1]},
    ]
}


def build(folder: Path) -> Path:
    """Build the sdist from the checkout; check what is in it; return its path."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", str(folder), str(ROOT))
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    complete(sdist.name, names, IN_SDIST)
    return sdist


def build_wheel(python: Path, sdist: Path, folder: Path) -> Path:
    """Build a wheel for `python` from the sdist alone; check what is in it; return its path."""
    run(str(python), "-m", "pip", "-q", "wheel", "--no-deps", "--wheel-dir", str(folder), str(sdist))
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    complete(wheel.name, names, IN_WHEEL)
    astray = [name for name in names for part in NOT_IN_WHEEL if name.startswith(part) or name.endswith(part)]
    if astray:
        sys.exit(f"{wheel.name} holds what it should not: {astray}")
    return wheel


def complete(archive: str, names: list[str], expected: Iterable[str]) -> None:
    """Exit unless each of `expected` begins some name."""
    missing = [start for start in expected if not any(name.startswith(start) for name in names)]
    if missing:
        sys.exit(f"{archive} lacks {missing}; it has {names}")


def smoke(python: Path, folder: Path) -> None:
    """Serve the examples with the `pyserver` command installed beside `python`, and ask add_sub."""
    options = pyserver_command(ROOT / "examples/models")[3:]
    server = ServerProcess([str(python.parent / "pyserver"), *options], f"pyserver of {python}", cwd=folder)
    with server:
        url = f"http://{server.http}/v2/models/add_sub/infer"
        with urllib.request.urlopen(url, json.dumps(ADD_SUB).encode(), timeout=10) as answer:
            outputs = json.load(answer)["outputs"]
    if [output["data"] for output in outputs] != [[2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 2.0, 3.0]]:
        sys.exit(f"{python} answers {outputs}")


def run(*command: str) -> None:
    """Run a command to its good end."""
    print("$", " ".join(command), flush=True)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="installation", description=__doc__)
    parser.add_argument("--python", help="one version, as 3.12")
    chosen = parser.parse_args().python
    found = {
        f"{major}.{minor}": path for (major, minor), path in sorted(interpreters().items()) if (major, minor) >= OLDEST
    }
    if chosen and chosen not in found:
        parser.error(f"no CPython {chosen} found, only {', '.join(found)}")
    with tempfile.TemporaryDirectory(prefix="pyserver-installation-") as name:
        folder = Path(name)
        sdist = build(folder)
        for version in [chosen] if chosen else found:
            home = folder / version
            run(str(found[version]), "-m", "venv", str(home))
            python = home / "bin/python"
            wheel = build_wheel(python, sdist, home)
            run(str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", str(wheel))
            subprocess.run([str(python), "-c", BACKENDS], check=True, cwd=folder)
            smoke(python, folder)
            print(f"CPython {version}: {wheel.name} installs and serves", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
