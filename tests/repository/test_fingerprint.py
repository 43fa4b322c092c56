"""What counts as a change of a model's files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pyserver.repository.fingerprint import take
from pyserver.repository.repository import ModelRepository
from pyserver.repository.watch import Watch


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/1/model.py").write_text("pass")
    (tmp_path / "m/config.pbtxt").write_text('backend: "python"')
    return tmp_path / "m"


def test_the_same_files_are_the_same(model: Path) -> None:
    assert take(model) == take(model)


@pytest.mark.parametrize(
    "name", [".model.py.swp", ".#model.py", "#model.py#", "model.py~", "4913", "x.tmp", "x.part", "model.pyc"]
)
def test_what_editors_leave_is_no_change(model: Path, name: str) -> None:
    before = take(model)
    (model / "1" / name).write_text("x")
    (model / name).write_text("x")
    (model / "1/__pycache__").mkdir()
    (model / "1/__pycache__/model.cpython-311.pyc").write_text("x")
    assert take(model) == before


def test_every_other_change_is_one(model: Path) -> None:
    seen = {take(model)}

    def new() -> bool:
        found = take(model)
        fresh = found not in seen
        seen.add(found)
        return fresh

    os.utime(model / "1/model.py", ns=(1, 1))
    assert new()
    (model / "1/model.py").write_text("pass # longer")
    assert new()
    (model / "1/weights.bin").write_text("")
    assert new()
    (model / "2").mkdir()
    assert new()
    (model / "1/weights.bin").rename(model / "2/weights.bin")
    assert new()
    replaced = model / "1/model.py"
    status = replaced.stat()
    shutil.copy2(replaced, model / "1/other")
    os.replace(model / "1/other", replaced)
    os.utime(replaced, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert new(), "another file under the same name, with its size and time"


def test_the_configuration_is_told_from_the_rest(model: Path) -> None:
    before = take(model)
    (model / "config.pbtxt").write_text("max_batch_size: 4")
    after = take(model)
    assert after.config != before.config
    assert after.files == before.files
    (model / "1/model.py").write_text("changed")
    assert take(model).config == after.config
    assert take(model).files != after.files


def test_a_folder_that_is_gone(model: Path) -> None:
    shutil.rmtree(model)
    assert take(model) == take(model)


def test_links_are_not_followed_into_folders(model: Path, tmp_path: Path) -> None:
    (model / "loop").symlink_to(model)
    assert take(model) == take(model)


def test_a_watch_forgets_nothing(model: Path) -> None:
    watch = Watch(ModelRepository([model.parent]))
    looks = watch.look()
    assert watch.changed(looks) == {"m"}
    watch.act("m", looks)
    assert watch.changed(watch.look()) == set()
    (model / "1/model.py").write_text("changed")
    assert watch.changed(watch.look()) == {"m"}
    shutil.rmtree(model)
    looks = watch.look()
    assert watch.changed(looks) == {"m"}
    watch.act("m", looks)
    assert watch.changed(looks) == set()
