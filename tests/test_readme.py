"""The README tells what is so."""

import re
from pathlib import Path

import pytest

from tools.readme import README, rendered

ROOT = README.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")]


def test_generated_parts_are_up_to_date() -> None:
    assert rendered(README.read_text()) == README.read_text(), "run: python -m tools.readme"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        if target != "benchmarks/RESULTS.md":  # written by a run of the benchmarks
            assert (page.parent / target).exists(), target


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README.read_text()))
    assert named <= targets
