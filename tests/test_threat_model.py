"""docs/threat-model.md names places and tests: they are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "threat-model.md").read_text()


def test_every_place_is_there() -> None:
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?|[a-z_]+\.py)`", TEXT)
    places = [place for place in named if "test_" not in place]
    assert len(places) > 15
    for place in places:
        found = any((ROOT / base / place).exists() for base in ("", "pyserver", "pyserver/frontend/rest"))
        assert found or list((ROOT / "csrc").rglob(f"{place}.pyx")) or list(ROOT.rglob(f"pyserver/**/{place}")), place


def test_every_test_is_there() -> None:
    named = re.findall(r"`(?:[a-z/]*(test_[a-z_]+))?::(test_[a-z_]+)", TEXT)
    assert len(named) > 6
    for _, test in named:
        assert any(f"def {test}" in path.read_text() for path in (ROOT / "tests").rglob("test_*.py")), test
    for file in re.findall(r"`(?:[a-z]+/)*(test_[a-z_]+)(?:`|::|\.py)", TEXT):
        assert list((ROOT / "tests").rglob(f"{file}.py")), file
