"""Every problem of one of MLServer's models that shows without running it, as (file, line, what is wrong)."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pyserver.errors import ServerError
from pyserver.repository.folder import ModelFolder
from pyserver.repository.mlserver.config import configured
from pyserver.repository.mlserver.folders import Member, MlserverFolder

_KEY = re.compile(r"'(?:[\w.]+\.)?(\w+)'")


def look_at(folder: ModelFolder) -> Iterator[tuple[Path, int, str]]:
    """All that is wrong with a model's versions."""
    assert isinstance(folder, MlserverFolder), folder
    for version in folder.versions():
        member = folder.member(version)
        path = member.source or member.folder
        try:
            configured(folder, version)
        except ServerError as error:
            said = error.message.removeprefix(f"model '{folder.name}': ").removeprefix(f"{path}: ")
            yield path, line_of(path, said), said
        for note in member.notes:
            if "has no effect" not in note:
                said = note.removeprefix(f"{path}: ")
                yield path, line_of(path, said), said
        yield from _implementation(member, path)


def line_of(path: Path, said: str) -> int:
    """The line of a settings file that has the first key which `said` names; 0 for none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    for key in _KEY.findall(said):
        for number, line in enumerate(lines, 1):
            if json.dumps(key) in line:
                return number
    return 0


def _implementation(member: Member, path: Path) -> Iterator[tuple[Path, int, str]]:
    """Whether the class is where its path says, as far as the model's own folder tells."""
    named = member.settings.implementation
    module, _, name = named.rpartition(".")
    if not module:
        yield path, line_of(path, "'implementation'"), f"'implementation' is '{named}', expected module.Class"
        return
    file = member.folder.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        return
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        if not _own_environment(member):
            where = getattr(error, "lineno", 0) or 0
            yield file, where, f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        return
    if not _has(tree, name):
        yield file, 0, f"there is no class {name}, which {path.name} names as the 'implementation'"


def _own_environment(member: Member) -> bool:
    """Whether another Python, which may have another syntax, runs the model."""
    parameters = member.settings.parameters
    return bool(parameters.environment_tarball or parameters.environment_path)


def _has(tree: ast.Module, name: str) -> bool:
    """Whether a module seems to have a name; one that imports or assigns anything by that name, or a star, does."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return True
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)) and any(
            (alias.asname or alias.name) in (name, "*") for alias in node.names
        ):
            return True
    return False
