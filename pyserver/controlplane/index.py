"""What the repository index says of a model, and who asked for a load that failed."""

from __future__ import annotations

from collections.abc import Set

from pyserver.errors import ErrorCode, ServerError, invalid
from pyserver.model.registry import ModelEntry, Registry, VersionEntry


def documents(registry: Registry, names: Set[str], ready_only: bool) -> list[dict[str, str]]:
    """One document for each version that was ever tried, and for each model of these `names` that never was."""
    found: list[dict[str, str]] = []
    tried = set()
    for entry in sorted(registry, key=lambda entry: entry.name):
        tried.add(entry.name)
        for number, version in sorted(entry.versions.items()):
            found.append(_document(entry.name, entry.label(number), version))
    found += [{"name": name} for name in sorted(names - tried)]
    return [document for document in found if document.get("state") == "READY"] if ready_only else found


def _document(name: str, version: str, found: VersionEntry) -> dict[str, str]:
    """A model version: what is empty is left out."""
    state, why = found.shown()
    fields = {"name": name, "version": version, "state": state.value, "reason": why}
    return {key: value for key, value in fields.items() if value}


def reason(error: ServerError) -> str:
    """The index's reason: the code in words, then the message (Triton's form)."""
    words = (
        "Invalid argument" if error.code is ErrorCode.INVALID_ARG else error.code.name.replace("_", " ").capitalize()
    )
    return f"{words}: {error.message}"


def load_failed(name: str, error: ServerError, entry: ModelEntry) -> ServerError:
    """The error for who asked for a load, in Triton's words."""
    numbers = [number for number in sorted(entry.versions) if number]
    if not numbers:
        return ServerError(error.code, f"failed to load '{name}': {error.message}")
    states = "".join(f"version {number} is at UNAVAILABLE state: {reason(error)};" for number in numbers)
    return invalid(f"load failed for model '{name}': {states}")
