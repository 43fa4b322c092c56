"""Writes the parts of README.md that are told by the program itself: `python -m tools.readme`.

The table of options comes from `pyserver.settings`, the figures from benchmarks/RESULTS.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from pyserver.settings import flags

ROOT = Path(__file__).parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks/RESULTS.md"
SHOWN = "http-bin-small"
PEERS = ("triton", "mlserver")
NOTHING = "Nothing is measured yet."


def rendered(text: str) -> str:
    """The README with its generated parts as they should be."""
    for name, content in (("figures", figures()), ("ratios", ratios()), ("flags", options())):
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


class Section(NamedTuple):
    """A part of RESULTS.md: of each server the cells of its row, the first of them what counts, the last how many
    times slower than pyserver it is.
    """

    title: str
    head: list[str]
    rows: dict[str, list[str]]


def sections() -> dict[str, Section]:
    """The workloads that were measured."""
    found: dict[str, Section] = {}
    if not RESULTS.exists():
        return found
    for name, title, table in re.findall(r"^## (\S+)\n\n(.*?)\.\n\n((?:\|.*\n)+)", RESULTS.read_text(), re.MULTILINE):
        lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
        found[name] = Section(title, lines[0][1:], {line[0]: line[1:] for line in lines[2:]})
    return found


def figures() -> str:
    """The first figure, whole."""
    section = sections().get(SHOWN)
    if section is None:
        return NOTHING
    lines = [["server", *section.head], ["---", *["--:"] * len(section.head)]]
    lines += [[server, *row] for server, row in section.rows.items()]
    return "\n".join([f"{section.title}:", "", *map(_line, lines)])


def ratios() -> str:
    """All of them beside each other: what counts, and how many times faster pyserver is."""
    lines = [["", "pyserver", *(title for peer in PEERS for title in (peer, "x"))]]
    lines.append(["---", *["--:"] * (1 + 2 * len(PEERS))])
    for section in sections().values():
        if "pyserver" in section.rows and any(peer in section.rows for peer in PEERS):
            unit = " s" if "after s" in section.head[0] else "/s"
            cells = [section.title.partition(";")[0], _median(section.rows["pyserver"], unit)]
            for peer in PEERS:
                row = section.rows.get(peer)
                cells += [_median(row, unit), row[-1]] if row else ["", ""]
            lines.append(cells)
    return "\n".join(map(_line, lines)) if len(lines) > 2 else NOTHING


def _median(row: list[str], unit: str) -> str:
    return row[0].partition(" (")[0] + unit


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command."""
    README.write_text(rendered(README.read_text()))


if __name__ == "__main__":
    main()
