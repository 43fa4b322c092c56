"""Preparing: once for whoever asks, at one stroke, and taken up by others after a kill at any point."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyserver.environment import content, prepare, upkeep, worker
from pyserver.environment.cache import Cache, Entry
from pyserver.environment.guard import Limits
from pyserver.environment.progress import Progress, Throttle
from pyserver.environment.source import Origin, Source, existing
from pyserver.errors import ErrorCode, ServerError
from tests.environment.archives import HOSTILE, tar, written
from tests.support.environments import numpy_on_new_python, pack_tar, write_small_environment
from tools import proc


def ignore(progress: Progress) -> None:
    pass


def only_entry(cache: Cache) -> Entry:
    (entry,) = cache.entries()
    return entry


def left(cache: Cache) -> list[str]:
    """All that is in the cache but its books."""
    return sorted(path.name for path in cache.root.iterdir() if path.name not in ("locks", "known"))


@contextmanager
def working(cache: Cache, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that was told to prepare `path`."""
    command = [sys.executable, "-m", "pyserver.environment.worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin:
        stdin.write(worker.order(cache.root, existing(path)))
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def said(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(line) for line in process.stdout]


def test_once_and_then_it_is_there(cache: Cache, small: Path) -> None:
    steps: list[Progress] = []
    key, facts = prepare.prepare(cache, existing(small), steps.append)
    entry = only_entry(cache)
    assert entry.key == key
    assert facts.interpreter == str(entry.environment / "bin/python")
    assert facts.version == ".".join(map(str, sys.version_info[:3]))
    assert list(dict.fromkeys(step.step for step in steps)) == [
        "reading small.tar.gz", "unpacking small.tar.gz", "trying the interpreter",
    ]  # fmt: skip
    steps.clear()
    assert prepare.prepare(cache, existing(small), steps.append) == (key, facts)
    assert {step.step for step in steps} == {"reading small.tar.gz"}
    assert left(cache) == [key]
    assert content.remembered(cache, small) == key


def test_the_content_counts_not_the_name(cache: Cache, small: Path, tmp_path: Path) -> None:
    key, _ = prepare.prepare(cache, existing(small), ignore)
    copy = tmp_path / "elsewhere.bin"
    shutil.copy(small, copy)
    assert prepare.prepare(cache, existing(copy), ignore)[0] == key
    other = pack_tar(write_small_environment(tmp_path / "other", 'exec "{python}" "$@" # another'), small)
    assert content.remembered(cache, small) is None, "it has changed"
    assert prepare.prepare(cache, existing(other), ignore)[0] != key


def test_six_processes_at_once(cache: Cache) -> None:
    """One unpacks, five wait for it, all have the same."""
    path = numpy_on_new_python()
    with ExitStack() as stack:
        processes = [stack.enter_context(working(cache, path)) for _ in range(6)]
        outputs = [said(process) for process in processes]
        assert [process.wait() for process in processes] == [0] * 6
    unpacked = [any("unpacking" in line.get("step", "") for line in lines) for lines in outputs]
    assert sorted(unpacked) == [False] * 5 + [True]
    assert len({json.dumps(lines[-1]) for lines in outputs}) == 1
    assert any(line.get("step") == prepare.WAITING for lines in outputs for line in lines)
    assert left(cache) == [outputs[0][-1]["key"]]


def test_those_who_wait_need_not_wait_for_those_who_use_it(cache: Cache, small: Path) -> None:
    """The first one goes on using the environment, for ever, as a server does."""
    key, _ = prepare.prepare(cache, existing(small), ignore)
    used = cache.use(key)
    assert used is not None
    try:
        assert prepare.prepare(cache, existing(small), ignore)[0] == key
        with working(cache, small) as process:
            assert said(process)[-1]["key"] == key
    finally:
        os.close(used[1])


@pytest.mark.heavy
def test_killed_while_it_unpacks(cache: Cache) -> None:
    path = numpy_on_new_python()
    with working(cache, path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["step"].startswith("unpacking"):
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    entry = only_entry(cache)
    assert entry.unfinished.exists()
    assert entry.record is None
    assert cache.use(entry.key) is None
    key, _ = prepare.prepare(cache, existing(path), ignore)
    assert only_entry(cache).key == key == entry.key
    cache.empty_trash()
    assert left(cache) == [key]


def test_killed_after_it_was_renamed(cache: Cache, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unpacked whole is taken up, not unpacked again."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "_finish", killed)
        patched.setattr(Entry, "put_away", lambda self: None)
        with pytest.raises(Killed):
            prepare.prepare(cache, existing(small), ignore)
    entry = only_entry(cache)
    assert entry.record is None
    inode = (entry.environment / "bin/python").stat().st_ino
    steps: list[Progress] = []
    prepare.prepare(cache, existing(small), steps.append)
    assert not any("unpacking" in step.step for step in steps)
    assert (entry.environment / "bin/python").stat().st_ino == inode
    assert entry.record is not None


def test_the_worker_goes_with_whoever_started_it(cache: Cache) -> None:
    path = numpy_on_new_python()
    program = (
        "import subprocess, sys, time; from pathlib import Path; from pyserver.environment import source, worker;"
        "p = subprocess.Popen([sys.executable, '-m', 'pyserver.environment.worker'], stdin=-1, stdout=-1);"
        f"p.stdin.write(worker.order(Path({str(cache.root)!r}), source.existing(Path({str(path)!r}))));"
        "p.stdin.close(); p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while proc.alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not proc.alive(pid)


def test_an_entry_that_lost_its_interpreter_is_made_anew(cache: Cache, small: Path) -> None:
    key, _ = prepare.prepare(cache, existing(small), ignore)
    (cache.entry(key).environment / "bin/python").unlink()
    assert cache.use(key) is None
    prepare.prepare(cache, existing(small), ignore)
    used = cache.use(key)
    assert used is not None
    (cache.entry(key).environment / "bin/python").unlink()
    with pytest.raises(ServerError, match="is damaged, and in use"):
        prepare.prepare(cache, existing(small), ignore)
    os.close(used[1])


@pytest.mark.parametrize("name", ["climbs", "through a link", "device"])
def test_a_hostile_archive_leaves_nothing(cache: Cache, tmp_path: Path, name: str) -> None:
    members, why = HOSTILE[name]
    path = written(tmp_path / "x.tar.gz", gzip.compress(tar(members)))
    with pytest.raises(ServerError, match=why) as caught:
        prepare.prepare(cache, existing(path), ignore)
    assert caught.value.message.startswith(f"environment '{path}': ")
    cache.empty_trash()
    assert left(cache) == []


def test_a_bomb_leaves_nothing(cache: Cache, small: Path) -> None:
    with pytest.raises(ServerError, match="more than 1 times as many"):
        prepare.prepare(cache, existing(small), ignore, Limits(ratio=1, slack=0))
    cache.empty_trash()
    assert left(cache) == []


FOLDERS = {
    "one folder too many": ("its one folder 'inner' has, so pack what is in that folder", "inner/bin/python"),
    "something else": ("expected a conda environment or a venv, found model.onnx", "model.onnx"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_not_an_environment(cache: Cache, tmp_path: Path, name: str) -> None:
    why, path = FOLDERS[name]
    (tmp_path / "folder" / path).parent.mkdir(parents=True)
    (tmp_path / "folder" / path).touch()
    for source in (tmp_path / "folder", pack_tar(tmp_path / "folder", tmp_path / "x.tar.gz")):
        with pytest.raises(ServerError, match=re.escape(why)):
            prepare.prepare(cache, existing(source), ignore)


def test_a_venv_whose_base_is_elsewhere(cache: Cache, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to("/opt/gone/bin/python3.9")
    (folder / "pyvenv.cfg").write_text("home = /opt/gone/bin\n")
    with pytest.raises(ServerError, match=r"link to /opt/gone/bin/python3\.9, which is not there"):
        prepare.prepare(cache, existing(pack_tar(folder, tmp_path / "x.tar.gz")), ignore)


def test_conda_unpack_that_fails(cache: Cache, tmp_path: Path) -> None:
    folder = write_small_environment(tmp_path / "folder")
    (folder / "bin/conda-unpack").write_text("raise SystemExit('no prefix today')")
    with pytest.raises(ServerError, match="conda-unpack ended with status 1: no prefix today"):
        prepare.prepare(cache, existing(pack_tar(folder, tmp_path / "x.tar.gz")), ignore)
    cache.empty_trash()
    assert left(cache) == []


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="--environment-cache names another folder") as caught:
        Cache(tmp_path / "file" / "cache")
    assert caught.value.code is ErrorCode.INTERNAL


def test_the_cache_is_its_owners(cache: Cache) -> None:
    assert cache.root.stat().st_mode & 0o777 == 0o700


def test_prune(cache: Cache, small: Path, tmp_path: Path) -> None:
    used_key, _ = prepare.prepare(cache, existing(small), ignore)
    used = cache.use(used_key)
    assert used is not None
    other = pack_tar(write_small_environment(tmp_path / "other", 'exec "{python}" "$@" # another'), tmp_path / "o.tgz")
    other_key, _ = prepare.prepare(cache, existing(other), ignore)
    (cache.root / ("0" * 32 + ".tmp")).mkdir()
    assert set(upkeep.prune(cache, time.time() - 1000)) == {"0" * 32}, "the others are young"
    assert set(upkeep.prune(cache, time.time() + 1000)) == {other_key}, "the first is used"
    os.close(used[1])
    assert set(upkeep.prune(cache, time.time() + 1000)) == {used_key}
    cache.empty_trash()
    assert left(cache) == []
    assert list((cache.root / "known").iterdir()) == []


def test_throttle() -> None:
    now = 0
    seen: list[Progress] = []
    throttle = Throttle(seen.append, lambda: now)
    for done in range(5):
        throttle(Progress("a", done, 10))
    now = 200_000_000
    throttle(Progress("a", 5, 10))
    throttle(Progress("a", 10, 10))
    throttle(Progress("b"))
    assert [str(progress) for progress in seen] == [
        "a: 0.0 of 0.0 MB", "a: 0.0 of 0.0 MB", "a: 0.0 of 0.0 MB", "b",
    ]  # fmt: skip
    assert [progress.done for progress in seen] == [0, 5, 10, 0]


def test_sources(tmp_path: Path) -> None:
    assert existing(tmp_path).origin is Origin.FOLDER
    with pytest.raises(ServerError, match="Failed to get the canonical path for"):
        existing(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ServerError, match="neither a folder nor a file"):
        existing(tmp_path / "fifo")
    assert str(Source(Origin.ARCHIVE, Path("/x"))) == "environment '/x'"
