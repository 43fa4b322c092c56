"""The parameters of a model's configuration that mean something to this server; all others are the model's own."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyserver.environment import source
from pyserver.errors import ServerError, invalid
from pyserver.instance.spec import EXECUTION_LIMIT_PARAMETER

RETRY_PARAMETER = "RETRY_FAILED_BATCH"
ADAPTIVE_PARAMETER = "ADAPTIVE_QUEUE_DELAY"
INTERPRETER_PARAMETER = "PYTHON_EXECUTABLE"
OWN_INTERPRETER = (source.PARAMETER, INTERPRETER_PARAMETER)
ALIKE = 0.85
"""How much of a name has to be there to take it for a mistyped one of ours."""

_KNOWN = (EXECUTION_LIMIT_PARAMETER, RETRY_PARAMETER, ADAPTIVE_PARAMETER, *OWN_INTERPRETER)
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def text_of(config: Any, parameter: str) -> str:
    """What a parameter says; "" where it is not given."""
    return str(config.parameters[parameter].string_value) if parameter in config.parameters else ""


def switched_on(config: Any, parameter: str, default: bool) -> bool:
    """A parameter that is true or false; ServerError (INVALID_ARG) for any other text."""
    if parameter not in config.parameters:
        return default
    text = text_of(config, parameter)
    if text.lower() not in _WORDS:
        raise invalid(f"model '{config.name}': parameter {parameter} is '{text}', expected true or false")
    return _WORDS[text.lower()]


def execution_limit(config: Any, default: float) -> float:
    """Seconds that one execute may take, 0 for ever; ServerError (INVALID_ARG) for what is no such number."""
    if EXECUTION_LIMIT_PARAMETER not in config.parameters:
        return default
    text = text_of(config, EXECUTION_LIMIT_PARAMETER)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        said = f"model '{config.name}': parameter {EXECUTION_LIMIT_PARAMETER} is '{text}'"
        raise invalid(f"{said}, expected a number of seconds, 0 for no limit")
    return seconds


def check_interpreter(model: str, path: str) -> None:
    """ServerError (INVALID_ARG) for what can't be run."""
    if not os.access(path, os.X_OK):
        raise invalid(f"model '{model}': interpreter '{path}' is not an executable file")


def problems(config: Any, folder: Path) -> Iterator[str]:
    """What is wrong with the parameters of a model in `folder`: values that can't be, names that are nearly ours."""
    for parameter, check in (
        (EXECUTION_LIMIT_PARAMETER, lambda: execution_limit(config, 0.0)),
        (RETRY_PARAMETER, lambda: switched_on(config, RETRY_PARAMETER, True)),
        (ADAPTIVE_PARAMETER, lambda: switched_on(config, ADAPTIVE_PARAMETER, False)),
        (source.PARAMETER, lambda: _environment(config, folder)),
        (INTERPRETER_PARAMETER, lambda: _interpreter(config)),
    ):
        try:
            check()
        except ServerError as error:
            said = error.message.removeprefix(f"model '{config.name}': ")
            yield said if said.startswith("parameter ") else f"parameter '{parameter}': {said}"
    for name in config.parameters:
        meant = "" if name in _KNOWN else _meant(name)
        if meant:
            yield f"parameter '{name}' means nothing to the server: did you mean '{meant}'?"


def _environment(config: Any, folder: Path) -> None:
    value = text_of(config, source.PARAMETER)
    if value:
        source.named(config.name, folder, value)


def _interpreter(config: Any) -> None:
    path = text_of(config, INTERPRETER_PARAMETER)
    if path:
        check_interpreter(config.name, path)


def _meant(name: str) -> str:
    return next(iter(difflib.get_close_matches(name.upper(), _KNOWN, 1, ALIKE)), "")
