"""What an ensemble's answers hold of the memory of its steps' models."""

from __future__ import annotations

from collections.abc import Iterable

from pyserver.types import InferResponse, Lease


class Leases:
    """Several leases as one."""

    __slots__ = ("_leases",)

    def __init__(self, leases: Iterable[Lease]) -> None:
        self._leases = list(leases)

    def release(self) -> None:
        """Give all of them back; again for nothing."""
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.release()


class Shared:
    """Leases that several hold: they end when each holder has released once, the one who made it included."""

    __slots__ = ("_holders", "_leases")

    def __init__(self, leases: Iterable[Lease]) -> None:
        self._leases = Leases(leases)
        self._holders = 1

    def hold(self) -> Shared:
        """One more holder."""
        self._holders += 1
        return self

    def release(self) -> None:
        """One holder less."""
        self._holders -= 1
        if not self._holders:
            self._leases.release()


def leases_of(responses: Iterable[InferResponse]) -> list[Lease]:
    """The leases of those responses that have one."""
    return [response.lease for response in responses if response.lease is not None]


def as_one(leases: list[Lease]) -> Lease | None:
    """One lease for all of them; None where there is none."""
    return leases[0] if len(leases) == 1 else Leases(leases) if leases else None
