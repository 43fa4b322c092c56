"""Which versions of a model are served: its version policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyserver.errors import invalid

if TYPE_CHECKING:
    from pyserver.proto.model_config import ModelConfig, ModelVersionPolicy


def select(config: ModelConfig, available: Sequence[int]) -> list[int]:
    """Return the versions to serve, ascending, of those `available` on disk.

    ServerError (INVALID_ARG) if there are none. Versions that the policy names and the disk lacks are passed over, as
    Triton does; `missing` tells them.
    """
    chosen = _chosen(config.version_policy, sorted(available))
    if not chosen:
        there = ", ".join(map(str, sorted(available))) or "none"
        raise invalid(
            f"at least one version must be available under the version policy of model '{config.name}'"
            f" (policy {_words(config.version_policy)}, version folders: {there})"
        )
    return chosen


def missing(config: ModelConfig, available: Sequence[int]) -> list[int]:
    """Return the versions that a specific policy names and the disk lacks, ascending."""
    return sorted(set(config.version_policy.specific.versions) - set(available))


def _chosen(policy: ModelVersionPolicy, available: list[int]) -> list[int]:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return available
    if choice == "specific":
        return [version for version in available if version in policy.specific.versions]
    count = policy.latest.num_versions if choice == "latest" else 1
    return available[-count:] if count else []


def _words(policy: ModelVersionPolicy) -> str:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return "all"
    if choice == "specific":
        return f"specific {list(policy.specific.versions)}"
    return f"latest {policy.latest.num_versions if choice == 'latest' else 1}"
