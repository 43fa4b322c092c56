"""Log lines: their forms, and that nobody can write one in another's name."""

from __future__ import annotations

import json
import logging
import re
import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserver.observe.formats import FORMATTERS, single


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("pyserver.x", logging.WARNING, "/a/server.py", 17, "%s", (message,), None)
    made.created = 1_763_712_350.971395
    made.__dict__.update(extra)
    return made


def test_the_forms() -> None:
    line = FORMATTERS["default"]().format(record("hello"))
    assert re.fullmatch(r"W11\d\d \d\d:\d\d:50\.97139\d \d+ server\.py:17\] hello", line)
    line = FORMATTERS["ISO8601"]().format(record("hello"))
    assert re.fullmatch(r"2025-11-21T08:05:50Z W \d+ server\.py:17\] hello", line)
    line = json.loads(FORMATTERS["json"]().format(record("hello", model="m", requests="", version="1")))
    assert line.pop("pid") > 0
    assert line.pop("time").startswith("2025-11-21T08:05:50.97139")
    assert line == {
        "level": "warning", "logger": "pyserver.x", "file": "server.py", "line": 17, "message": "hello", "model": "m",
        "version": "1",
    }  # fmt: skip


def test_who_is_compiled_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    said = record("hello")
    monkeypatch.setitem(sys.modules, "pyserver.x", ModuleType("pyserver.x"))
    monkeypatch.setattr(sys.modules["pyserver.x"], "__file__", "/a/x.cpython-311-x86_64-linux-gnu.so", raising=False)
    assert FORMATTERS["default"]().format(said).endswith(" x.py:0] hello")
    monkeypatch.setattr(sys.modules["pyserver.x"], "__file__", "/a/x.py")
    assert FORMATTERS["default"]().format(said).endswith(" server.py:17] hello")


@given(st.text())
@pytest.mark.parametrize("form", FORMATTERS)
def test_every_line_is_one_or_indented(form: str, text: str) -> None:
    lines = FORMATTERS[form]().format(record(text)).split("\n")
    assert all(line.startswith("    ") for line in lines[1:])
    if form == "json":
        assert json.loads(lines[0])["message"] == text
        assert len(lines) == 1
    assert all(line.replace("\t", "").isprintable() for line in lines)


@given(st.text())
def test_what_is_single_is_one_line(text: str) -> None:
    assert single(text).isprintable()
    assert text.isprintable() == (single(text) == text)


def test_tracebacks_stay_with_their_line() -> None:
    try:
        raise ValueError("a\nE1121 08:00:00.000000 1 server.py:1] forged")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    lines = FORMATTERS["default"]().format(failed).split("\n")
    assert lines[1] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in lines[1:])
    assert "forged" in json.loads(FORMATTERS["json"]().format(failed))["traceback"]
