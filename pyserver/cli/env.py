"""`pyserver env`: make, test, list and clear away the environments that models run in."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pyserver.cli.bar import Bar
from pyserver.environment import source, upkeep
from pyserver.environment.cache import Cache, Entry, default_folder
from pyserver.environment.pack import pack
from pyserver.environment.prepare import prepare
from pyserver.environment.progress import Throttle
from pyserver.errors import ServerError

DAY = 86400.0
MEGABYTE = 1_000_000


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands; returns the exit status: 1 when it could not do what it was asked for."""
    given = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        return command(given)
    except ServerError as error:
        print(f"pyserver env: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The commands and what they take."""
    parser = argparse.ArgumentParser("pyserver env", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    packing = commands.add_parser("pack", help="pack a conda environment for a model")
    packing.add_argument("prefix", type=Path, help="the environment's folder")
    packing.add_argument("-o", "--output", type=Path, help="NAME.tar.gz, .tar.zst, .tar.bz2, .tar.xz or .zip")
    packing.add_argument("--force", action="store_true", help="overwrite the output")
    packing.set_defaults(command=_pack)
    checking = commands.add_parser("check", help="unpack, or build, an environment into the cache and try it")
    checking.add_argument("path", type=Path, help="an archive, a folder, a requirements.txt or an environment.yml")
    checking.set_defaults(command=_check)
    listing = commands.add_parser("list", help="show what is in the cache")
    listing.set_defaults(command=_list)
    pruning = commands.add_parser("prune", help="remove from the cache what nobody uses now")
    pruning.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="only if unused for so long")
    pruning.set_defaults(command=_prune)
    for each in (checking, listing, pruning):
        each.add_argument("--environment-cache", type=Path, default=default_folder(), metavar="DIR", dest="cache")
    return parser


def _pack(given: argparse.Namespace) -> int:
    output = given.output or Path(f"{given.prefix.resolve().name}.tar.gz")
    pack(given.prefix, output, given.force, print, sys.stdout.isatty())
    print(f"packed {given.prefix} into {output}: {output.stat().st_size / MEGABYTE:.1f} MB; try it with")
    print(f"    pyserver env check {output}")
    print("and give it to a model with these lines of its config.pbtxt:")
    print(f'    parameters {{ key: "{source.PARAMETER}"')
    print(f'      value {{ string_value: "{source.MODEL_DIRECTORY}/{output.name}" }} }}')
    return 0


def _check(given: argparse.Namespace) -> int:
    wanted = source.listed(given.path) or source.existing(given.path)
    cache = Cache(given.cache.absolute())
    bar = Bar(sys.stderr)
    try:
        key, facts = prepare(cache, wanted, Throttle(bar, time.monotonic_ns))
    finally:
        bar.close()
        cache.empty_trash()
    print(f"interpreter  {facts.interpreter}")
    print(f"python       {facts.version}")
    print(f"platform     {facts.platform}")
    print(f"numpy        {facts.numpy}")
    if key:
        print(f"cache entry  {key}")
    return 0


def _list(given: argparse.Namespace) -> int:
    cache = Cache(given.cache.absolute())
    rows = [("KEY", "MB", "PYTHON", "NUMPY", "UNUSED", "FROM")]
    rows += [_row(cache, entry) for entry in cache.entries()]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)]
        print("  ".join([*cells, row[5]]))
    return 0


def _row(cache: Cache, entry: Entry) -> tuple[str, str, str, str, str, str]:
    used = cache.used(entry)
    record = entry.record
    if record is None:
        return entry.key, "", "", "", "being made" if used else "unfinished", ""
    unused = "in use" if used else f"{(time.time() - cache.last_used(entry)) / DAY:.1f} days"
    facts = record.facts
    return entry.key, f"{record.nbytes / MEGABYTE:.0f}", facts.version, facts.numpy, unused, record.source


def _prune(given: argparse.Namespace) -> int:
    cache = Cache(given.cache.absolute())
    removed = upkeep.prune(cache, time.time() - given.older_than * DAY)
    for key, nbytes in removed.items():
        print(f"removed {key}: {nbytes / MEGABYTE:.0f} MB")
    cache.empty_trash()
    print(f"{len(removed)} removed, {sum(removed.values()) / MEGABYTE:.0f} MB; {len(cache.entries())} left")
    return 0
