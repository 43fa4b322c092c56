"""What mypyc compiles as it stands (csrc/compiled.ini): what it takes, and what it must not take."""

import ast
from pathlib import Path

import pytest

from tests.support.twins import ROOT, libraries

COMPILED = {path for paths in libraries().values() for path in paths}
HOUSES = {"pyserver.ipc.compiled": ("ipc",)}


def bases(path: Path) -> dict[str, list[str]]:
    """The classes of a module, each with the bare names of its bases."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            names = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
            found[node.name] = [ast.unparse(name).rpartition(".")[2] for name in names]
    return found


def imports(path: Path) -> dict[str, str]:
    """The names that a module imports from pyserver, each with the file that it is from."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyserver."):
            found.update({alias.name: f"{(node.module or '').replace('.', '/')}.py" for alias in node.names})
    return found


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pyserver").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_what_derives_from_a_compiled_class_is_compiled(path: Path) -> None:
    if str(path.relative_to(ROOT)) in COMPILED:
        return
    named = imports(path)
    derived = {name: base for name, found in bases(path).items() for base in found if named.get(base) in COMPILED}
    protocols = {base for base in derived.values() if "Protocol" in bases(ROOT / named[base])[base]}
    assert not set(derived.values()) - protocols, f"{path} is to stand in csrc/compiled.ini"


def test_libraries_hold_what_is_there_and_nothing_of_the_server_is_in_a_models_process() -> None:
    for library, paths in libraries().items():
        assert len(paths) == len(set(paths)), library
        for path in paths:
            assert (ROOT / path).is_file(), path
            room = path.split("/")[1]
            assert room in HOUSES[library] if library in HOUSES else room not in {"ipc", "stub"}, path
