"""What `pyserver --help` prints: the flags in groups, a line each."""

from __future__ import annotations

from typing import Any

from pyserver.cli.main import SUBCOMMANDS
from pyserver.settings import flags

TITLES = {
    "repository": "models",
    "server": "server",
    "http": "REST",
    "grpc": "gRPC",
    "metrics": "metrics",
    "trace": "traces",
    "cache": "response cache",
    "limits": "limits",
    "logging": "log",
}
COLUMN = 40
WIDTH = 100

HEAD = """\
usage: pyserver --model-repository DIR [options]
       pyserver COMMAND ...

Serve Triton model repositories over the V2 inference protocol, REST and gRPC.

commands, each with a --help of its own:
  {commands}

options, from the command line, as variables (PYSERVER_HTTP_PORT=8000), or in a file (--config):
  -h, --help                            this
  --version                             the version
"""


def text() -> str:
    """The whole of it."""
    lines = [HEAD.format(commands=", ".join(SUBCOMMANDS))]
    groups: dict[str, list[str]] = {group: [] for group in TITLES}
    for name, default, about in flags():
        groups[about["group"]].append(line(name, default, about))
    for group, title in TITLES.items():
        lines += [f"{title}:", *groups[group], ""]
    return "\n".join(lines)


def line(name: str, default: Any, about: dict[str, Any]) -> str:
    """A flag, what it takes, what it does, and its default; what doesn't fit is in the README."""
    takes = about["metavar"] or ("|".join(about["choices"]))
    option = f"  --{name.replace('_', '-')} {takes}".rstrip()
    usual = shown(default)
    room = WIDTH - max(COLUMN, len(option) + 2) - (len(usual) + 3 if usual else 0)
    said = cut(about["help"], room)
    return f"{option.ljust(COLUMN - 2)}  {said}" + (f" [{usual}]" if usual else "")


def cut(said: str, room: int) -> str:
    """As many whole words as there is room for."""
    if len(said) <= room:
        return said
    return said[: room - 3].rpartition(" ")[0] + " ..."


def shown(default: Any) -> str:
    """A default as one would type it; "" for none."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return " ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)
