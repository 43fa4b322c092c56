"""A conda channel on this machine: real packages of an interpreter that is here and of wheels, in real metadata.

What is installed from it has records of every file, and prefixes that the installer, and conda-unpack after it, rewrite
in text and in binary files: as from conda-forge, without it. The solver and the installer are rattler's, in a virtual
environment of their own (`tools.conda_install`).
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.environments import cache_folder, environment
from tools.packed import PIP, _ask, _copy_interpreter, _locked

INSTALLER = Path(__file__).parent / "conda_install.py"
REQUIREMENTS = ("py-rattler", "pyyaml")
PLACEHOLDER = "/opt/placeholder" + "_placeholder" * 14
"""What stands for the prefix in a package: longer than any place that it is installed in."""
MOMENT = 1_700_000_000_000
TEXT = "etc/prefix.txt"
BINARY = "share/prefix.bin"


def installer(*arguments: str) -> list[str]:
    """The command line of `tools.conda_install`."""
    return [str(environment("conda-tools", REQUIREMENTS) / "bin/python"), str(INSTALLER), *arguments]


def channel(name: str, pythons: dict[str, Path], packages: dict[str, Sequence[str]]) -> Path:
    """The channel NAME with `pythons` by version (3.8) and for each the `packages`, as requirements (numpy==1.24.4)."""
    folder = cache_folder() / f"channel-{name}"
    done, wanted = (
        folder / ".made",
        json.dumps([{key: str(path) for key, path in pythons.items()}, packages], default=list),
    )
    with _locked(folder.name):
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "linux-64").mkdir(parents=True)
            for version, python in pythons.items():
                _write_python(folder, python)
                for requirement in packages[version]:
                    _write_wheel(folder, python, requirement)
            subprocess.run(installer("index", str(folder)), check=True, stdin=subprocess.DEVNULL)
            done.write_text(wanted)
    return folder


def installed(name: str, channel: Path, wanted: Sequence[str]) -> Path:
    """The environment NAME, as the installer makes it of packages of `channel` (python=3.8)."""
    prefix, file = cache_folder() / f"conda-{name}", cache_folder() / f"conda-{name}.yml"
    text = environment_file(channel, wanted)
    with _locked(prefix.name):
        if not file.exists() or file.read_text() != text:
            shutil.rmtree(prefix, ignore_errors=True)
            draft = file.with_suffix(".draft.yml")
            draft.write_text(text)
            command = installer("create", "--yes", "--prefix", str(prefix), "--file", str(draft))
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            draft.replace(file)
    return prefix


def environment_file(channel: Path, wanted: Sequence[str]) -> str:
    """An environment.yml."""
    lines = ["channels:", f"  - {channel.as_uri()}", "dependencies:", *(f"  - {spec}" for spec in wanted)]
    return "\n".join([*lines, ""])


def _write_python(channel: Path, python: Path) -> None:
    """The interpreter with its library, and two files that hold its prefix, one of them no text."""
    version = _ask(python, "import platform; print(platform.python_version())")
    stage = channel / "stage"
    _copy_interpreter(python, stage)
    shutil.rmtree(stage / "conda-meta")
    source = _ask(python, "import sys; print(sys.base_prefix)").encode()
    for file in _files(stage):
        content = b"" if file.is_symlink() else file.read_bytes()
        if source in content and b"\0" not in content:
            file.write_bytes(content.replace(source, PLACEHOLDER.encode()))
    for name, content in ((TEXT, f"{PLACEHOLDER}/lib\n".encode()), (BINARY, PLACEHOLDER.encode() + bytes(64) + b"end")):
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(content)
    _write_package(channel, stage, "python", version, "0", [])


def _write_wheel(channel: Path, python: Path, requirement: str) -> None:
    minor = _ask(python, "import sys; print('%d.%d' % sys.version_info[:2])")
    stage = channel / "stage"
    target = stage / f"lib/python{minor}/site-packages"
    command = [
        sys.executable,
        "-m",
        "pip",
        *PIP,
        "--no-deps",
        "--python-version",
        minor,
        "--target",
        str(target),
        requirement,
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(target / "bin", ignore_errors=True)
    (metadata,) = target.glob("*.dist-info")
    name, version = metadata.name.removesuffix(".dist-info").split("-")[:2]
    build = f"py{minor.replace('.', '')}_0"
    _write_package(channel, stage, name.lower().replace("_", "-"), version, build, [f"python {minor}.*"])


def _write_package(channel: Path, stage: Path, name: str, version: str, build: str, depends: list[str]) -> None:
    """NAME-VERSION-BUILD.conda of all that lies in `stage`, which is removed."""
    package = f"{name}-{version}-{build}"
    described: dict[str, Any] = {
        "name": name, "version": version, "build": build, "build_number": 0, "depends": depends, "subdir": "linux-64",
        "arch": "x86_64", "platform": "linux", "timestamp": MOMENT,
    }  # fmt: skip
    files = list(_files(stage))
    info = channel / "info"
    (info / "info").mkdir(parents=True)
    (info / "info/index.json").write_text(json.dumps(described))
    paths = {"paths": [_path(stage, file) for file in files], "paths_version": 1}
    (info / "info/paths.json").write_text(json.dumps(paths))
    with zipfile.ZipFile(channel / f"linux-64/{package}.conda", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"pkg-{package}.tar.zst", _tar(stage, files))
        archive.writestr(f"info-{package}.tar.zst", _tar(info, list(_files(info))))
    shutil.rmtree(info)
    shutil.rmtree(stage)


def _path(stage: Path, file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    entry: dict[str, Any] = {
        "_path": str(file.relative_to(stage)), "path_type": "softlink" if file.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content),
    }  # fmt: skip
    if PLACEHOLDER.encode() in content and not file.is_symlink():
        entry.update(prefix_placeholder=PLACEHOLDER, file_mode="binary" if b"\0" in content else "text")
    return entry


def _tar(folder: Path, files: Sequence[Path]) -> bytes:
    import zstandard

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in files:
            tar.add(file, str(file.relative_to(folder)), recursive=False)
    return zstandard.compress(packed.getvalue(), 1)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file())
