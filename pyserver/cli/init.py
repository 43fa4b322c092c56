"""`pyserver init [FOLDER]`: a new project with a custom runtime, its settings and its tests."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pyserver.errors import ServerError, invalid
from pyserver.repository.folder import check_name

TEMPLATE = Path(__file__).parent / "template"
SUFFIX = ".in"
PLACEHOLDER = "__NAME__"
COOKIECUTTER = "cookiecutter"


def main(arguments: Sequence[str]) -> int:
    """Make the project; 1 if that can't be done."""
    parser = argparse.ArgumentParser(
        "pyserver init",
        description="Make a new project: from the template that comes with pyserver, from a folder, from a zip file,"
        " or, where it is a cookiecutter template, by cookiecutter.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("my-model"), help="what to make (default %(default)s)"
    )
    parser.add_argument(
        "-t", "--template", default="", help="a folder, a zip file or a URL instead of the built-in one"
    )
    given = parser.parse_args(arguments)
    try:
        return make(given.folder, given.template)
    except ServerError as error:
        print(f"pyserver init: {error.message}", file=sys.stderr)
    except OSError as error:
        print(f"pyserver init: '{error.filename or given.folder}': {error.strerror}", file=sys.stderr)
    return 1


def make(folder: Path, template: str) -> int:
    """Make the project `folder`; the exit status. ServerError or OSError says why it can't be made."""
    source = Path(template)
    if template and (not source.exists() or (source / "cookiecutter.json").is_file()):
        return _by_cookiecutter(template)
    name = folder.resolve().name
    check_name(name)
    if folder.exists() and any(folder.iterdir()):
        raise invalid(f"'{folder}' is not empty")
    if not template:
        _copy_template(folder, name)
    elif source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)
    else:
        _unzip(source, folder)
    print(f"made {folder}; serve it with")
    print(f"    pyserver start {folder}")
    return 0


def _copy_template(folder: Path, name: str) -> None:
    for path in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        target = folder / path.relative_to(TEMPLATE).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8").replace(PLACEHOLDER, name), encoding="utf-8")


def _unzip(source: Path, folder: Path) -> None:
    """Take the files of a zip file, which may all lie below one folder in it."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            tops = {PurePosixPath(entry.filename).parts[0] for entry in entries}
            nested = all("/" in entry.filename for entry in entries)
            below = 1 if len(tops) == 1 and nested else 0
            for entry in entries:
                target = folder.joinpath(*_inside(source, entry.filename)[below:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
    except zipfile.BadZipFile as error:
        raise invalid(f"'{source}': {error}") from None


def _inside(source: Path, name: str) -> tuple[str, ...]:
    """The parts of a name in an archive; ServerError if they lead out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or re.search(r"[\\\0]", name):
        raise invalid(f"'{source}': '{name}' leads out of the archive")
    return path.parts


def _by_cookiecutter(template: str) -> int:
    program = shutil.which(COOKIECUTTER)
    if program is None:
        raise invalid(
            f"'{template}' is no folder and no zip file here, and there is no '{COOKIECUTTER}' on the PATH that could"
            " take it; without --template, pyserver makes a project of its own"
        )
    return subprocess.run([program, "--", template], check=False).returncode
