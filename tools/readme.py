"""Writes the parts of README.md that are told by the program itself: `python -m tools.readme`.

The table of options comes from `pyserver.settings`, the figures from benchmarks/RESULTS.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pyserver.settings import flags

ROOT = Path(__file__).parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks/RESULTS.md"
SHOWN = ("http-bin-small",)
NOTHING = "Nothing is measured yet."


def rendered(text: str) -> str:
    """The README with its generated parts as they should be."""
    for name, content in (("figures", figures()), ("flags", options())):
        part = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = part.subn(lambda found, content=content: f"{found[1]}{content}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"README.md has {count} parts between <!-- {name} --> and <!-- /{name} -->, expected 1")
    return text


def options() -> str:
    """The table of flags."""
    rows = ["| option | default | |", "|---|---|---|"]
    for name, default, about in flags():
        value = about["metavar"].replace("|", "\\|") or ", ".join(about["choices"])
        option = f"`--{name.replace('_', '-')}`" + (f" {value}" if value else "")
        said = "; ".join(filter(None, (about["help"], about["more"])))
        rows.append(f"| {option} | {shown(default)} | {said} |")
    return "\n".join(rows)


def shown(default: Any) -> str:
    """A default as one would type it."""
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default in ("", ()) else f"{default:g}" if isinstance(default, float) else str(default)


def figures() -> str:
    """The tables of the workloads that are `SHOWN`, one below another in one."""
    if not RESULTS.exists():
        return NOTHING
    rows: list[str] = []
    for name in SHOWN:
        found = re.search(
            rf"^## {name}\n\n(.*?)\.\n\n\| server (.*?)\n\|---(.*?)\n(.*?)\n\n", RESULTS.read_text(), re.M | re.S
        )
        if found:
            title, head, rule, body = found.groups()
            rows = rows or [f"| | server {head}", f"|---|---{rule}"]
            rows += [f"| {title} {row}" for row in body.splitlines()]
    return "\n".join(rows) or NOTHING


def main() -> None:
    """The command."""
    README.write_text(rendered(README.read_text()))


if __name__ == "__main__":
    main()
