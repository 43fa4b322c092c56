"""The further requests of a client's stream, for the one call of a model that reads them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyserver.model.items import Items
from pyserver.types import InferRequest, InferResponse

if TYPE_CHECKING:
    from pyserver.model.model import Model
    from pyserver.payload import Pending


class Feed(Items):
    """Requests in the form of responses: their inputs are what the model's process is sent.

    They wait until the model reads, and are dropped once it reads no more. `prepare` sees each of them before it is
    checked, and may refuse it. It is a `pyserver.instance.services.Responses`.
    """

    def __init__(self, model: Model, prepare: Callable[[InferRequest], None]) -> None:
        super().__init__()
        self.model = model
        self._prepare = prepare

    @property
    def waits_for(self) -> Pending | None:
        """It is the client that it waits for."""
        return None

    def put(self, request: InferRequest, taken: Callable[[], None]) -> None:
        """The client's next request; `taken` is called once it is on its way to the model, or dropped.

        ServerError if it is not as the model wants it.
        """
        model = self.model
        self._prepare(request)
        model.check(request)
        lease = _Taken(taken)
        self._pass(InferResponse(model.name, str(model.version), request.id, request.inputs, lease=lease), False)

    def end(self) -> None:
        """The client has said all; whether it still waits for answers the model hears from then on as well."""
        model = self.model
        self._pass(InferResponse(model.name, str(model.version), empty=True), False)


class _Taken:
    """Tells, once, that a request need not be kept any longer."""

    def __init__(self, taken: Callable[[], None]) -> None:
        self.release = taken
