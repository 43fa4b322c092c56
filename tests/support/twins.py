"""Which modules have compiled twins, and whether these are made of them."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def libraries() -> dict[str, list[str]]:
    """The modules in csrc/compiled.ini, by the library that holds them."""
    listed = ConfigParser(allow_no_value=True)
    listed.read_string((ROOT / "csrc/compiled.ini").read_text())
    return {name: list(listed[name]) for name in listed.sections()}


def outdated() -> list[str]:
    """The modules that are younger than their library: what runs is not what one reads."""
    old = []
    for library, paths in libraries().items():
        place = ROOT / library.replace(".", "/")
        for built in place.parent.glob(f"{place.name}__mypyc.*"):
            made = built.stat().st_mtime
            old += [path for path in paths if (ROOT / path).stat().st_mtime > made]
    return old
