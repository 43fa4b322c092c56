"""The exceptions that a model sees."""

from __future__ import annotations


class TritonModelException(Exception):  # noqa: N818 - Triton's name
    """What pb_utils raises for its own refusals; a model may raise it too."""


def not_yet(feature: str) -> TritonModelException:
    """The one place that says what this version of the stub doesn't do."""
    return TritonModelException(f"{feature} is not supported by this version of the server")


def incompatible(signature: str, *got: object) -> TypeError:
    """A constructor or function was called with other types than those of `signature`."""
    return TypeError(f"incompatible constructor arguments: expected {signature}, got {', '.join(map(repr, got))}")
