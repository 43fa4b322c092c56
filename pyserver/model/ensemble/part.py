"""What a run consists of: steps that are taken on tensors, for somebody who hears what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pyserver.errors import ServerError
from pyserver.types import InferResponse, Lease, Tensor

if TYPE_CHECKING:
    from pyserver.model.ensemble.run import Run


class Teller(Protocol):
    """Who passes on what comes of a part; nothing comes any more after `end` or `fail`."""

    def say(self, response: InferResponse) -> None:
        """One more answer."""

    def end(self) -> None:
        """No more answers."""

    def fail(self, error: ServerError) -> None:
        """No more answers, because of `error`."""

    def when_first(self, call: Callable[[], None]) -> None:
        """Call `call` once whatever is said is passed on at once, which may be now."""


class Part:
    """Takes steps of `run` on `tensors`, by their names in the ensemble; `teller` hears what comes of it.

    `lease` is what it holds of what came before it, until it is over.
    """

    __slots__ = ("_lease", "_run", "_teller", "over", "tensors")

    def __init__(self, run: Run, tensors: dict[str, Tensor], lease: Lease | None, teller: Teller) -> None:
        self.tensors = tensors
        self.over = False
        self._run = run
        self._lease = lease
        self._teller = teller

    def begin(self) -> None:
        """Start what may be started now."""
        raise NotImplementedError

    @property
    def running(self) -> list[int]:
        """The steps whose models have not answered yet."""
        raise NotImplementedError

    def start(self, number: int) -> None:
        """Take step `number`, whose turn it is."""
        run, executor = self._run, self._run.executor
        if self.over:
            executor.leave(number)
            return
        run.begun += 1
        try:
            self._ask(number)
        except Exception as error:
            # From the loop, because the owner may be in the middle of sending.
            executor.loop.call_soon(self._refused, number, error)

    def stop(self) -> None:
        """Nobody waits for it any more: end what runs, give everything back; again for nothing."""
        self.over = True
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def _ask(self, number: int) -> None:
        """Send the step's request to its model; whatever that raises."""
        raise NotImplementedError

    def _refused(self, number: int, error: BaseException) -> None:
        """The step's model has not answered."""
        raise NotImplementedError


def tensors_in(response: InferResponse, asked: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """The tensors of a step's response by their names in the ensemble; `asked` pairs the step's names with these."""
    answered = {tensor.name: tensor for tensor in response.outputs}
    return {ours: answered[theirs] for theirs, ours in asked if theirs in answered}
