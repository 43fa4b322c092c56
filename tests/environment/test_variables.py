"""The variables of a process in an environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.environment import variables
from pyserver.errors import ServerError

GIVEN = {
    "PATH": "/usr/bin:/bin", "HOME": "/h", "LD_LIBRARY_PATH": "/cuda", "PYTHONHOME": "/x", "PYTHONPATH": "/y",
    "PYTHONSAFEPATH": "1", "VIRTUAL_ENV": "/v", "LD_PRELOAD": "/z.so", "CONDA_PREFIX": "/c", "CONDA_SHLVL": "1",
}  # fmt: skip


def write_hooks(folder: Path, **scripts: str) -> None:
    (folder / variables.HOOKS).mkdir(parents=True)
    for name, script in scripts.items():
        (folder / variables.HOOKS / f"{name}.sh").write_text(script)


def test_a_conda_environment(tmp_path: Path) -> None:
    assert variables.of_environment(tmp_path, GIVEN) == {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": "/h", "LD_LIBRARY_PATH": "/cuda", "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "CONDA_PREFIX": str(tmp_path), "CONDA_DEFAULT_ENV": str(tmp_path),
    }  # fmt: skip


def test_a_venv(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    found = variables.of_environment(tmp_path, GIVEN)
    assert found["VIRTUAL_ENV"] == str(tmp_path)
    assert "CONDA_PREFIX" not in found


@pytest.mark.parametrize("text", ["", "[]", "{", '{"env_vars": 3}', '{"env_vars": {"A": "b"}}'])
def test_what_conda_keeps(tmp_path: Path, text: str) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/state").write_text(text)
    assert variables.of_environment(tmp_path, GIVEN).get("A", "") == ("b" if '"A"' in text else "")


def test_hooks_in_their_order(tmp_path: Path) -> None:
    write_hooks(
        tmp_path,
        a='export FIRST="one two\nthree"; export PATH="/more:$PATH"; unset HOME; local_only=1; echo noise; read x',
        b='export SECOND="$FIRST!"; false',
    )
    around = variables.of_environment(tmp_path, GIVEN)
    changes = variables.activation(tmp_path, around)
    assert changes == {
        "FIRST": "one two\nthree", "SECOND": "one two\nthree!", "PATH": f"/more:{around['PATH']}", "HOME": None,
    }  # fmt: skip
    after = variables.changed(around, changes)
    assert after["PATH"].startswith("/more:")
    assert "HOME" not in after


def test_no_hooks_no_shell(tmp_path: Path) -> None:
    assert variables.activation(tmp_path, {"PATH": "/nowhere"}) == {}


def test_a_hook_that_ends_it_all(tmp_path: Path) -> None:
    write_hooks(tmp_path, a="echo because >&2; exit 4")
    with pytest.raises(ServerError, match="ended with status 4: because"):
        variables.activation(tmp_path, {"PATH": "/usr/bin:/bin"})
    with pytest.raises(ServerError, match="can't be run"):
        variables.activation(tmp_path, {"PATH": "/nowhere"})


def test_hook_names_are_no_program(tmp_path: Path) -> None:
    write_hooks(tmp_path, **{"$(touch PWNED); touch PWNED2": "export A=1"})
    assert variables.activation(tmp_path, {"PATH": "/usr/bin:/bin"}) == {"A": "1"}
    assert not Path("PWNED").exists()
    assert not Path("PWNED2").exists()
