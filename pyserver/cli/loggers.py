"""MLServer's `logging_settings`: Python's own logging configuration, applied to the server's loggers."""

from __future__ import annotations

import json
import logging.config
from pathlib import Path
from typing import Any

from pyserver.errors import invalid
from pyserver.repository.mlserver.files import SETTINGS

THEIRS, OURS = "mlserver", "pyserver"


def apply(folder: Path, settings: str | dict[str, Any] | None) -> None:
    """Configure `logging` by a dictionary, or by the file (JSON, or an ini file) at a path below `folder`.

    What is said of the logger `mlserver` holds for the server's own as well. ServerError (INVALID_ARG) names the key.
    """
    if settings is None:
        return
    where = f"{folder / SETTINGS}: 'logging_settings'"
    try:
        if isinstance(settings, str):
            path = Path(folder, settings)
            where += f": {path}"
            if path.suffix != ".json":
                logging.config.fileConfig(path, disable_existing_loggers=False)
                _follow()
                return
            settings = json.loads(path.read_text(encoding="utf-8"))
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **_dictionary(settings)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        raise invalid(f"{where}: {_told(error)}") from None
    _follow()


def _dictionary(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, dict):
        raise TypeError(f"a {type(settings).__name__}, expected an object")
    return settings


def _follow() -> None:
    """Give our loggers what was said of MLServer's."""
    theirs, ours = logging.getLogger(THEIRS), logging.getLogger(OURS)
    if theirs.level:
        ours.setLevel(theirs.level)
    for handler in theirs.handlers:
        ours.addHandler(handler)
    ours.propagate = theirs.propagate


def _told(error: Exception) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"
