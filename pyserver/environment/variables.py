"""The environment variables of a process that runs in an environment, as its activation would leave them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pyserver.errors import invalid

FOREIGN = (
    "LD_PRELOAD",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONSAFEPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "VIRTUAL_ENV",
)
"""Variables of the server's own environment that break another interpreter; CONDA_* go as well."""

HOOKS = "etc/conda/activate.d"
HOOK_SECONDS = 30.0
# Hooks are shell scripts, and meant to be sourced. Their names come as arguments, never as a part of the text.
SOURCE_HOOKS = 'for hook do . "$hook" </dev/null >&2; done; exec env -0'
OF_THE_SHELL = {"_", "SHLVL", "PWD", "OLDPWD", "BASHOPTS", "SHELLOPTS", "BASH_ENV"}

Changes = dict[str, "str | None"]


def scrubbed(given: Mapping[str, str]) -> dict[str, str]:
    """`given` without what only the server's own interpreter may see."""
    return {name: value for name, value in given.items() if name not in FOREIGN and not name.startswith("CONDA_")}


def of_interpreter(interpreter: Path, given: Mapping[str, str]) -> dict[str, str]:
    """For an interpreter of which nothing more is known: its own folder comes first in PATH."""
    variables = scrubbed(given)
    variables["PATH"] = str(interpreter.parent) + os.pathsep + variables.get("PATH", os.defpath)
    variables["PYTHONNOUSERSITE"] = "1"
    return variables


def of_environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """For a conda environment or a venv.

    LD_LIBRARY_PATH is left alone: an environment finds its libraries beside itself, and the system's own programs,
    which a model may run, must not find them.
    """
    variables = of_interpreter(folder / "bin/python", given)
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    if (folder / "pyvenv.cfg").exists():
        variables["VIRTUAL_ENV"] = str(folder)
        return variables
    variables["CONDA_PREFIX"] = str(folder)
    variables["CONDA_DEFAULT_ENV"] = str(folder)
    variables.update(_set_by_conda(folder))
    return variables


def activation(folder: Path, variables: Mapping[str, str]) -> Changes:
    """What the activate.d hooks of the environment change in `variables`; None for what they take away.

    Runs bash, for a tenth of a second, if there are hooks: call it in a worker thread, once.
    """
    hooks = sorted(str(hook) for hook in (folder / HOOKS).glob("*.sh"))
    if not hooks:
        return {}
    command = ["bash", "--noprofile", "--norc", "-c", SOURCE_HOOKS, "activate", *hooks]
    try:
        done = subprocess.run(
            command, env=dict(variables), stdin=subprocess.DEVNULL, capture_output=True, timeout=HOOK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise invalid(f"environment '{folder}': its hooks in {HOOKS} can't be run: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise invalid(f"environment '{folder}': its hooks in {HOOKS} ended with status {done.returncode}: {said}")
    return _changes(variables, _listed(done.stdout))


def changed(variables: Mapping[str, str], changes: Changes) -> dict[str, str]:
    """`variables` with `changes`."""
    merged: Changes = {**variables, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    changes: Changes = {name: value for name, value in after.items() if before.get(name) != value}
    changes.update({name: None for name in before if name not in after})
    return {name: value for name, value in changes.items() if name not in OF_THE_SHELL}


def _listed(output: bytes) -> dict[str, str]:
    pairs = (os.fsdecode(item).partition("=") for item in output.split(b"\0") if item)
    return {name: value for name, _, value in pairs}


def _set_by_conda(folder: Path) -> dict[str, str]:
    """What `conda env config vars set` has left in the environment."""
    try:
        found = json.loads((folder / "conda-meta/state").read_text()).get("env_vars", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
