"""Model repositories of the user's own class: listed by a process of their own, never in the server's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyserver.errors import invalid
from pyserver.repository.mlserver.fields import ServerSettings

TIMEOUT = 120.0
"""Seconds for a list; repositories may be far away."""
STUB = Path(__file__).resolve().parents[2] / "stub"
OWN = ("mlserver.repository.SchemalessModelRepository", "mlserver.repository.repository.SchemalessModelRepository")
"""MLServer's own, which lists the files that we find ourselves."""

_SHOWN = 12


def is_custom(settings: ServerSettings) -> bool:
    """Whether the settings name a class that is not MLServer's own."""
    return bool(settings.model_repository_implementation) and settings.model_repository_implementation not in OWN


def documents(repository: Path, settings: ServerSettings) -> list[dict[str, Any]]:
    """The settings of every model that the class lists, each with its `_source` (a path, or None).

    ServerError (INVALID_ARG) with the class and what it said last, where it fails or takes too long.
    """
    named = settings.model_repository_implementation or ""
    root = str(repository.absolute())
    given = {
        "implementation": named,
        "arguments": {"root": root, **settings.model_repository_implementation_args},
        "path": [root, str(Path.cwd())],
        "names": str(STUB / "names"),
    }
    status, said, text = _run(json.dumps(given))
    if status is None:
        raise invalid(f"model repository {named}: list() took longer than {TIMEOUT:.0f} seconds")
    if status != 0:
        last = "\n  ".join(said.strip().splitlines()[-_SHOWN:])
        raise invalid(f"model repository {named}: list() failed:\n  {last}")
    found = json.loads(text)
    assert isinstance(found, list)
    return found


def _run(given: str) -> tuple[int | None, str, str]:
    """Exit status (None: it took too long), what it wrote to stderr, and the result."""
    command = [sys.executable, str(STUB / "lister.py")]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, "", ""
    return done.returncode, done.stderr, done.stdout
