"""What the repository index says of a model, and who asked for a load that failed."""

from __future__ import annotations

from pyserver.errors import ErrorCode, ServerError, invalid
from pyserver.model.registry import ModelEntry, VersionEntry


def document(name: str, version: str, found: VersionEntry) -> dict[str, str]:
    """A model version as the index lists it: what is empty is left out."""
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
