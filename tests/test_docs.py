"""What the pages in docs/ say is held by tests, and the tests that they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
TESTS = re.compile(r"`((?:[a-z0-9_]+/)+test_[a-z0-9_]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_are_named_are_there(page: Path) -> None:
    for file, test in TESTS.findall(page.read_text()):
        path = ROOT / "tests" / file.removeprefix("tests/")
        assert path.is_file(), f"{page.name} names {file}"
        assert not test or f"def {test}(" in path.read_text(), f"{page.name} names {file}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_for_triton_users_names_tests() -> None:
    assert len(TESTS.findall((ROOT / "docs/from-triton.md").read_text())) > 30
