"""Settings from elsewhere than the command line: PYSERVER_ variables of the environment, and a TOML file."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pyserver.errors import ServerError, invalid
from pyserver.settings import flags

PREFIX = "PYSERVER_"
SEPARATOR = ";"
"""Between the values of a variable that may have several."""
WORDS = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}
_OWN = frozenset(("PYSERVER_FOREGROUND", "PYSERVER_STUB"))
"""Not settings: what the server tells the processes of its models."""
_SERVICES = re.compile(r"PYSERVER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")
"""What Kubernetes tells every pod of a service called `pyserver`, or `pyserver-something`."""
_NAMES = frozenset(name for name, _, _ in flags())
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the PYSERVER_ variables say, by field. ServerError for one that can't be taken, or is nearly a setting."""
    defaults = {PREFIX + name.upper(): (name, default, about) for name, default, about in flags()}
    found: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in _OWN or _of_a_service(variable, text):
            continue
        if variable in defaults:
            name, default, about = defaults[variable]
            found[name] = _from_text(variable, text, default, about)
        elif known := nearest(variable, defaults):
            raise wrong(f"there is no variable {variable}; did you mean {known}?")
    return found


def from_file(path: str) -> dict[str, Any]:
    """What a TOML file says, by field; keys are options without their dashes in front, `http-port` or `http_port`."""
    known = {name: (default, about) for name, default, about in flags() if name != "config"}
    found: dict[str, Any] = {}
    for key, value in _read(path).items():
        name = key.replace("-", "_")
        if name not in known:
            near = nearest(key, [option.replace("_", "-") for option in known])
            raise wrong(f"{path}: unknown key '{key}'" + (f"; did you mean '{near}'?" if near else ""))
        found[name] = _from_value(f"{path}: {key}", value, *known[name])
    return found


def _read(path: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise wrong(f"--config: {path}: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise wrong(f"--config: {path}: {error}") from None


def _of_a_service(variable: str, text: str) -> bool:
    """Whether Kubernetes has set it. PYSERVER_HTTP_PORT is a setting, unless it is the address of a service."""
    if variable.removeprefix(PREFIX).lower() in _NAMES:
        return text.startswith(("tcp://", "udp://"))
    return _SERVICES.fullmatch(variable) is not None


def _from_text(what: str, text: str, default: Any, about: Mapping[str, Any]) -> Any:
    if isinstance(default, tuple):
        return tuple(part for part in text.split(SEPARATOR) if part)
    try:
        value = boolean(text) if isinstance(default, bool) else type(default)(text)
    except ValueError:
        raise _unfit(what, text, type(default)) from None
    return _chosen(what, value, about)


def _from_value(what: str, value: Any, default: Any, about: Mapping[str, Any]) -> Any:
    kind = type(default)
    if kind is tuple:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(entry, str) for entry in values):
            raise _unfit(what, value, kind)
        return tuple(values)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise _unfit(what, value, kind)
    return _chosen(what, value, about)


def _chosen(what: str, value: Any, about: Mapping[str, Any]) -> Any:
    if about["choices"] and value not in about["choices"]:
        raise wrong(f"{what} is '{value}', expected one of {', '.join(about['choices'])}")
    return value


def _unfit(what: str, value: object, kind: type) -> ServerError:
    return wrong(f"{what} is {value!r}, expected {_KINDS[kind]}")


def boolean(text: str) -> bool:
    """The truth that a word means. ValueError for another."""
    if text.lower() not in WORDS:
        raise ValueError(f"expected true or false, got '{text}'")
    return WORDS[text.lower()]


def nearest(word: str, known: Iterable[str]) -> str:
    """What may have been meant by `word`; "" where nothing is near."""
    return next(iter(difflib.get_close_matches(word, list(known), 1, 0.8)), "")


def wrong(message: str) -> ServerError:
    """Settings that can't be taken."""
    return invalid(message)
