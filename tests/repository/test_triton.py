"""Configurations that the real Triton loaded, and what it then printed (2.51; stored in triton/)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyserver.repository import complete, config, document, metadata, normalise, validate, versions
from pyserver.repository.folder import ModelFolder

DUMPS = Path(__file__).parent / "triton"
NAMES = sorted(path.stem for path in DUMPS.glob("*.json"))


def folder(tmp_path: Path, name: str) -> ModelFolder:
    path = tmp_path / name
    (path / "1").mkdir(parents=True)
    (path / "1" / "model.py").touch()
    written = DUMPS / f"{name}.pbtxt"
    if written.exists():
        (path / "config.pbtxt").write_text(written.read_text())
    return ModelFolder(name, path, tmp_path)


def numbers(name: str, expected: dict[str, Any]) -> dict[str, Any]:
    """Triton prints 64-bit integers as numbers where it thought of it, as strings elsewhere; we always as numbers."""
    if name == "sequence_direct":
        initial = expected["sequence_batching"]["state"][0]["initial_state"][0]
        assert initial["dims"] == ["1"]
        initial["dims"] = [1]
    if name == "tuned":
        spec = expected["optimization"]["cuda"]["graph_spec"][0]
        for shape in (spec["input"]["X"], spec["graph_lower_bound"]["input"]["X"]):
            shape["dim"] = [int(size) for size in shape["dim"]]
    if name == "together":
        expected["ensemble_scheduling"]["max_inflight_requests"] = 0  # Newer than 2.51.
    return expected


def order(value: Any) -> Any:
    """The names of a document's fields, in their order; maps have none."""
    if isinstance(value, list):
        return [order(item) for item in value]
    if isinstance(value, dict):
        return [(key, order(item)) for key, item in value.items()]
    return None


def without_maps(document: dict[str, Any]) -> dict[str, Any]:
    maps = ("cc_model_filenames", "metric_tags", "parameters", "priority_queue_policy")
    return json.loads(json.dumps(document), object_hook=lambda part: {k: v for k, v in part.items() if k not in maps})


def test_enough_were_stored() -> None:
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_configuration_is_printed_as_by_triton(tmp_path: Path, name: str) -> None:
    made = config.prepare(folder(tmp_path, name))
    validate.check(made)
    stored = json.loads((DUMPS / f"{name}.json").read_text())
    expected = numbers(name, stored["config"])
    printed = json.loads(document.to_json(made))
    assert printed == expected
    assert order(without_maps(printed)) == order(without_maps(expected))
    # Triton serves a version folder "0" as well, where the policy is "all".
    stored["metadata"]["versions"] = [version for version in stored["metadata"]["versions"] if version != "0"]
    ready = versions.select(made, stored["versions"])
    assert metadata.model_metadata(made, ready) == stored["metadata"]


@pytest.mark.parametrize("name", NAMES)
def test_printed_configuration_reads_back(tmp_path: Path, name: str) -> None:
    made = config.prepare(folder(tmp_path, name))
    again = document.from_json(document.to_json(made))
    assert again == made
    normalise.normalise(again)
    assert again == made


@pytest.mark.parametrize("name", NAMES)
def test_what_triton_printed_is_a_load_override(tmp_path: Path, name: str) -> None:
    stored = json.loads((DUMPS / f"{name}.json").read_text())["config"]
    override = config.prepare(folder(tmp_path, name), json.dumps(stored))
    assert override == config.prepare(folder(tmp_path / "again", name))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "together"])
def test_a_model_that_completes_nothing_changes_nothing(tmp_path: Path, name: str) -> None:
    made = config.prepare(folder(tmp_path, name))
    assert complete.merge(made, document.to_json(made)) == (made, [])
