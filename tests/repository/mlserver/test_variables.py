from __future__ import annotations

from pathlib import Path

import pytest

from pyserver.repository.mlserver.variables import Variables, parse, read


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A = 1 ", {"A": "1"}),
        ("A=", {"A": ""}),
        ('A="x # y"  # z', {"A": "x # y"}),
        ("A='a \\n b'", {"A": "a \\n b"}),
        ('A="a\\nb \\"c\\""', {"A": 'a\nb "c"'}),
        ("A=x#y # z", {"A": "x#y"}),
        ("A=# z", {"A": ""}),
        ('A={"k": [1, 2]}', {"A": '{"k": [1, 2]}'}),
        ("# A=1", {}),
        ("nothing", {}),
        ("", {}),
    ],
)
def test_lines(line: str, expected: dict[str, str]) -> None:
    assert parse(line) == expected


def test_the_last_of_two_lines_counts() -> None:
    assert parse("A=1\nB=2\nA=3\n") == {"A": "3", "B": "2"}


def test_the_environment_counts_for_more_than_the_file_and_case_does_not_matter() -> None:
    given = Variables({"mlserver_Http_Port": "1"}, {"MLSERVER_HTTP_PORT": "2", "MLSERVER_GRPC_PORT": "3"})
    assert given.get("MLSERVER_HTTP_PORT") == "1"
    assert given.get("mlserver_grpc_port") == "3"
    assert given.get("MLSERVER_HOST") is None


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / ".env") == {}


def test_those_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("MLSERVER_HOST=file\nMLSERVER_DEBUG=true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLSERVER_HOST", "environment")
    given = Variables.of_process()
    assert (given.get("MLSERVER_HOST"), given.get("MLSERVER_DEBUG")) == ("environment", "true")
