"""What the server's own source never does, whatever it is asked: read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "pyserver"
SOURCES = sorted(ROOT.rglob("*.py"))
UNPICKLING = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
FETCHING = {"urllib", "requests", "httpx", "aiohttp", "urllib3", "ftplib", "smtplib", "xmlrpc"}
CODE = {"eval", "exec", "compile", "__import__"}
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}


def imports(tree: ast.AST) -> set[str]:
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in found if name != "urllib.parse"}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_shell_no_code_out_of_text(path: Path) -> None:
    tree = ast.parse(path.read_text())
    used = imports(tree)
    assert not used & UNPICKLING
    assert not used & FETCHING or path.parts[-2] == "cli"
    for call in calls(tree):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        assert name not in CODE, f"{path}:{call.lineno}"
        assert not {attribute, name} & SHELLS, f"{path}:{call.lineno}"
        for keyword in call.keywords:
            value = keyword.value
            shell = keyword.arg == "shell" and not (isinstance(value, ast.Constant) and value.value is False)
            pickles = keyword.arg == "allow_pickle" and not (isinstance(value, ast.Constant) and value.value is False)
            assert not shell, f"{path}:{call.lineno}"
            assert not pickles, f"{path}:{call.lineno}"
