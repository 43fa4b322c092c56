"""The staircase of ARCHITECTURE.md, held against the imports of every module."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "pyserver"

# From the top of the house to the bottom; a floor imports itself and what stands after it.
FLOORS = [
    {"cli", "__main__"},
    {"server"},
    {"frontend"},
    {"protocol"},
    {"dataplane", "controlplane", "bls", "extension"},
    {"model"},
    {"repository", "environment", "cache"},
    {"scheduler"},
    {"instance"},
    {"payload"},
    {"proto", "types", "observe"},
    {"settings"},
    {"core"},
    {"errors"},
    {"ipc"},
]
SOCKETS = {"tornado", "httptools", "grpc", "pygrpc_native"}
IN_THE_MODELS_PROCESS = {"stub", "ipc"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names.update(f"pyserver.{alias.name}" for alias in node.names) if module == "pyserver" else names.add(
                module
            )
    return names


def here(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_the_stairs(path: Path) -> None:
    mine = here(path)
    if mine in {"__init__", "stub"}:
        return
    floor = next(number for number, rooms in enumerate(FLOORS) if mine in rooms)
    for name in imported(path):
        if name.startswith("pyserver."):
            other = room(name)
            if other == "__version__":
                continue
            level = next((number for number, rooms in enumerate(FLOORS) if other in rooms), None)
            assert level is not None, f"{path}: {name} is on no floor"
            assert level >= floor, f"{path}: imports {name}, which is above it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_frontends_know_sockets(path: Path) -> None:
    if here(path) not in {"frontend", "server", "cli"}:
        assert not {name.split(".")[0] for name in imported(path)} & SOCKETS, path


@pytest.mark.parametrize(
    "path", [p for p in modules() if here(p) in IN_THE_MODELS_PROCESS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_models_process_imports_nothing_of_the_server(path: Path) -> None:
    for name in imported(path):
        if name.startswith("pyserver"):
            assert room(name) in IN_THE_MODELS_PROCESS, f"{path}: {name}"
        elif here(path) == "ipc":
            assert name.split(".")[0] in sys.stdlib_module_names, f"{path}: {name}"
