from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.errors import ErrorCode, ServerError
from pyserver.repository.folder import ModelFolder, check_name
from pyserver.repository.repository import ModelRepository


def scanned(*paths: Path) -> ModelRepository:
    repository = ModelRepository(paths)
    repository.scan()
    return repository


def test_folders_are_models_but_files_and_hidden_folders_are_not(tmp_path: Path) -> None:
    for name in ("a", "b.v2-x", "_c", ".git", "..data", "__pycache__"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").touch()
    repository = scanned(tmp_path)
    assert repository.names == {"a", "b.v2-x", "_c"}
    assert repository.find("a") == ModelFolder("a", tmp_path / "a", tmp_path)


def test_scan_sees_what_came_and_went(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    repository = scanned(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert repository.names == {"a"}
    assert list(repository.scan()) == ["b"]


def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="failed to load 'x', no such model") as caught:
        scanned(tmp_path).find("x")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_a_repository_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"model repository '.*nope' can't be read: No such file"):
        scanned(tmp_path / "nope")
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="Not a directory"):
        scanned(tmp_path / "file")


def test_a_name_in_two_repositories_is_an_error_that_names_both(tmp_path: Path) -> None:
    for name in ("one/m", "two/m", "two/n"):
        (tmp_path / name).mkdir(parents=True)
    repository = scanned(tmp_path / "one", tmp_path / "two")
    assert repository.names == {"m", "n"}
    repository.find("n").check()
    with pytest.raises(ServerError) as caught:
        repository.find("m")
    assert caught.value.code is ErrorCode.INVALID_ARG
    assert str(tmp_path / "one" / "m") in caught.value.message
    assert str(tmp_path / "two" / "m") in caught.value.message


def test_the_same_repository_twice_is_once(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert scanned(tmp_path, tmp_path).find("m").error == ""


@pytest.mark.parametrize("name", ["a b", "a'b", "-a", "a..b", "a" * 129, "ü", "a;b", "$(x)", "a\nb"])
def test_names_that_are_not_allowed(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServerError, match="is not allowed"):
        check_name(name)
    (tmp_path / name).mkdir()
    with pytest.raises(ServerError, match="is not allowed"):
        scanned(tmp_path).find(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a\0b"])
def test_names_that_no_folder_has(name: str) -> None:
    with pytest.raises(ServerError, match="is not allowed"):
        check_name(name)


def test_links_may_lead_into_a_repository_only(tmp_path: Path) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models" / "alias").symlink_to("m")
    (tmp_path / "models" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "models" / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "linked").symlink_to("models")
    for root in (tmp_path / "models", tmp_path / "linked"):
        repository = scanned(root)
        assert repository.names == {"m", "alias", "out"}
        assert repository.find("alias").path == root / "alias"
        with pytest.raises(ServerError, match="expected a target inside a model repository"):
            repository.find("out")


def test_version_folders(tmp_path: Path) -> None:
    for name in ("1", "10", "2", "0", "02", "-3", "abc", "3.5", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "4").touch()
    assert ModelFolder("m", tmp_path, tmp_path.parent).versions() == [1, 2, 10]


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"model 'm': folder '.*/m' can't be read: No such file"):
        ModelFolder("m", tmp_path / "m", tmp_path).versions()
