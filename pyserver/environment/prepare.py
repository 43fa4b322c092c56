"""From a source to an interpreter that runs: the steps, each of which may be the last one before the power goes.

An archive is unpacked beside its place, renamed into it, told where it now lies (conda-unpack writes the folder that it
stands in into the files), tried, and only then said to be complete. What a killed process leaves is taken up by the
next one: from the rename on it is used, before that it is thrown away.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pyserver.environment import archive, build, content, interpreter, variables
from pyserver.environment.cache import Cache, Entry, out_of_space
from pyserver.environment.children import run
from pyserver.environment.extract import extract
from pyserver.environment.guard import Limits
from pyserver.environment.interpreter import Facts
from pyserver.environment.progress import Progress, Report
from pyserver.environment.source import Origin, Source
from pyserver.errors import ServerError, internal, invalid

WAITING = "waiting for another process that prepares the same environment"


def prepare(cache: Cache, source: Source, report: Report, limits: Limits | None = None) -> tuple[str, Facts]:
    """Make `source` ready: the key of its entry ("" for a folder, which is used where it is) and its facts.

    ServerError names the source and says why it can't be used; nothing that could be mistaken for it stays behind.
    """
    try:
        if source.origin is Origin.FOLDER:
            return "", checked(source.path, report)
        if source.origin is Origin.ARCHIVE:
            return _prepare_archive(cache, source.path, report, limits or Limits())
        return _prepare_build(cache, source, report)
    except ServerError as error:
        raise ServerError(error.code, f"{source}: {error.message}") from error
    except OSError as error:
        raise internal(f"{source}: {error}") from error


def checked(folder: Path, report: Report) -> Facts:
    """The facts of the environment in `folder`; ServerError if its interpreter can't run models."""
    report(Progress("trying the interpreter"))
    return interpreter.check(interpreter.find(folder), variables.of_environment(folder, os.environ))


def _prepare_archive(cache: Cache, path: Path, report: Report, limits: Limits) -> tuple[str, Facts]:
    kind = archive.recognise(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        key = content.read(cache, path, file, lambda done: report(Progress(f"reading {path.name}", done, size)))
        with cache.making(key, lambda: report(Progress(WAITING))) as entry:
            if record := entry.record:
                return key, record.facts
            with _whole_or_nothing(entry):
                if entry.complete_but_damaged or not entry.folder.exists():
                    _unpack(entry, path, file, kind, report, limits)
                return key, _finish(entry, path, report)


def _unpack(entry: Entry, path: Path, file: BinaryIO, kind: archive.Kind, report: Report, limits: Limits) -> None:
    entry.put_away()
    size = os.fstat(file.fileno()).st_size
    done = 0

    def heard(count: int) -> None:
        nonlocal done
        done = count
        report(Progress(f"unpacking {path.name}", min(done, size), size))

    target = entry.unfinished / "env"
    target.mkdir(parents=True)
    try:
        _check_space(target, size)
        extract(file, kind, target, limits, heard)
    except archive.damage() as error:
        raise _damaged(error) from error
    except OSError as error:
        if out_of_space(error):
            raise _no_space(entry.root, _size(target), done, size) from error
        if error.errno is None:  # a decoder's, not the disk's
            raise _damaged(error) from error
        raise
    entry.unfinished.rename(entry.folder)


def _damaged(error: Exception) -> ServerError:
    return invalid(f"the archive is damaged or cut off: {str(error) or type(error).__name__}")


def _finish(entry: Entry, path: Path, report: Report) -> Facts:
    folder = entry.environment
    python = interpreter.find(folder)
    around = variables.of_environment(folder, os.environ)
    if (folder / "bin/conda-unpack").is_file():
        # A program that does not run can't relocate anything either: let the check say why.
        interpreter.ask(python, around)
        report(Progress("relocating (conda-unpack)"))
        run([python, folder / "bin/conda-unpack"], around, name="conda-unpack")
    # The entry is ours to write: what is compiled now, by the check, needs not be compiled at each start.
    report(Progress("trying the interpreter"))
    facts = interpreter.check(python, {**around, "PYTHONDONTWRITEBYTECODE": ""})
    entry.complete(str(path), _size(folder), facts)
    return facts


def _prepare_build(cache: Cache, source: Source, report: Report) -> tuple[str, Facts]:
    plan = build.plan(source)
    with cache.making(plan.key, lambda: report(Progress(WAITING))) as entry:
        if record := entry.record:
            return plan.key, record.facts
        entry.put_away()  # it can't be moved, and so is built in its place, from the beginning
        with _whole_or_nothing(entry):
            entry.folder.mkdir()
            build.build(plan, entry.environment, report)
            return plan.key, _finish(entry, source.path, report)


@contextmanager
def _whole_or_nothing(entry: Entry) -> Iterator[None]:
    """What fails within is put away."""
    try:
        yield
    except BaseException:
        entry.put_away()
        raise


def _check_space(folder: Path, packed: int) -> None:
    """An archive that does not even fit as it is need not be begun."""
    free = shutil.disk_usage(folder).free
    if packed > free:
        raise _no_space(folder, 0, 0, packed, free)


def _no_space(folder: Path, written: int, done: int, packed: int, free: int | None = None) -> ServerError:
    needs = max(packed, written * packed // done if done else 0)
    has = written + (shutil.disk_usage(folder).free if free is None else free)
    return internal(
        f"No space left on device for the environment cache {folder}: needs about {needs / 1e6:.0f} MB, has"
        f" {has / 1e6:.0f} MB (`pyserver env prune` removes environments that nobody uses)"
    )


def _size(folder: Path) -> int:
    """Bytes on disk below `folder`."""
    total = 0
    for directory, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(directory, name)).st_blocks for name in names) * 512
    return total
