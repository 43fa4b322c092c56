"""Files that came with a request: only where they belong, only for this user."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pyserver.errors import ServerError
from pyserver.repository import uploads


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_they_are_written_and_removed(folder: Path) -> None:
    made = uploads.write("m", {"1/model.py": b"pass", "1/data/x.bin": b"\0\xff"})
    assert (made.path / "1/model.py").read_bytes() == b"pass"
    assert (made.path / "1/data/x.bin").read_bytes() == b"\0\xff"
    assert made.versions() == [1]
    assert made.repository.stat().st_mode & 0o777 == 0o700
    assert (made.path / "1/model.py").stat().st_mode & 0o777 == 0o600
    uploads.remove(made)
    uploads.remove(made)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["", "/", "/etc/passwd", "..", "../x", "1/../../x", "1/..", ".", "./x", "1//x", "1/x/", "a\\b", "a\0b"]
)
def test_paths_that_lead_elsewhere(folder: Path, path: str) -> None:
    with pytest.raises(ServerError, match="does not name a file inside the model's folder"):
        uploads.write("m", {"1/model.py": b"", path: b""})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["..", "a/b", "", "a\0"])
def test_names_that_lead_elsewhere(folder: Path, name: str) -> None:
    with pytest.raises(ServerError, match="is not allowed"):
        uploads.write(name, {"1/model.py": b""})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("paths", [("1", "1/x"), ("1/x", "1"), ("a/b/c", "a/b")])
def test_a_file_that_is_a_folder(folder: Path, paths: tuple[str, str]) -> None:
    with pytest.raises(ServerError, match="is a file and a folder at once"):
        uploads.write("m", dict.fromkeys(paths, b""))
    assert list(folder.iterdir()) == []


def test_a_name_that_no_file_can_have(folder: Path) -> None:
    with pytest.raises(ServerError, match="can't be written: File name too long"):
        uploads.write("m", {"1/" + "x" * 300: b""})
    assert list(folder.iterdir()) == []
