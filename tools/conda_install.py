"""What a conda does, by rattler: `index FOLDER` a channel, `create --yes --prefix FOLDER --file environment.yml`.

Runs by itself in the virtual environment that `tools.conda_channel` makes, and understands of micromamba's command line
what pyserver says to it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

rattler: Any = import_module("rattler")


async def index(folder: Path) -> None:
    """Write the channel's repodata."""
    await import_module("rattler.index").index_fs(folder)


async def create(prefix: Path, file: Path) -> None:
    """Solve what an environment file asks for, and install it."""
    wanted = import_module("yaml").safe_load(file.read_text())
    channels, specs = wanted["channels"], wanted["dependencies"]
    print(f"solving {', '.join(specs)}", flush=True)
    records = await rattler.solve(
        channels,
        specs,
        platforms=["linux-64", "noarch"],
        virtual_packages=rattler.VirtualPackage.detect(),
    )
    for record in records:
        print(f"linking {record.name.normalized}-{record.version}", flush=True)
    with tempfile.TemporaryDirectory() as packages:
        await rattler.install(records, prefix, cache_dir=Path(packages), show_progress=False)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="micromamba")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("index").add_argument("folder", type=Path)
    creating = commands.add_parser("create")
    creating.add_argument("--yes", action="store_true")
    creating.add_argument("--prefix", type=Path, required=True)
    creating.add_argument("--file", type=Path, required=True)
    given = parser.parse_args()
    try:
        asyncio.run(index(given.folder) if given.command == "index" else create(given.prefix, given.file))
    except Exception as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
