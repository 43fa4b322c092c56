"""What the server does for the models that it runs: answers their calls, and lets them load, unload and measure."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyserver.errors import ServerError, invalid, unavailable, unsupported
from pyserver.instance.log_levels import LogLevels
from pyserver.instance.spec import InstanceSpec
from pyserver.model.custom_metrics import CustomMetrics
from pyserver.model.cycles import cycle
from pyserver.model.registry import Registry
from pyserver.model.stream import Stream
from pyserver.model.tracing import begin_child
from pyserver.observe.traces import Traces
from pyserver.repository.uploads import FILE_PREFIX
from pyserver.types import InferRequest

if TYPE_CHECKING:
    from pyserver.controlplane.controlplane import ControlPlane
    from pyserver.instance.instance import Instance


class ModelServices:
    """The `pyserver.instance.calls.Services` of one server; `control_plane` is set once there is one."""

    control_plane: ControlPlane

    def __init__(self, registry: Registry, metrics: CustomMetrics, traces: Traces | None = None) -> None:
        self._registry = registry
        self._traces = traces or Traces()
        self._metrics = metrics
        self.log_levels = LogLevels()

    def infer(
        self, request: InferRequest, decoupled: bool, caller: Instance, waits: bool, parent: object = None
    ) -> Stream:
        """Start the call; errors are told as Triton tells the caller, with the code of their kind."""
        name = request.model_name
        said = f"Model {name} - Error when running inference: "
        try:
            model = self._registry.get(name, request.model_version)
        except ServerError as error:
            text = f"{said}Failed for execute the inference request. Model '{name}' is not ready. {error.message}"
            raise ServerError(error.code, text) from error
        if model.decoupled and not decoupled:
            raise unsupported(
                f"{said}model '{name}' doesn't support this call: it is one of the models using the decoupled "
                "transaction policy. Please use 'decoupled=True' when calling 'exec' or 'async_exec'."
            )
        chain = cycle(caller, model) if waits else []
        if chain:
            raise unavailable(
                f"{said}the call would wait for ever, {' -> '.join(chain)}: every instance of '{chain[-1]}' that could "
                "answer waits for this call. Give it more instances, or don't call it from what it calls."
            )
        self._note(caller.spec, name)
        trace = None if parent is None else self._traces.running(parent)
        if trace is not None:
            begin_child(trace, request, model)
        try:
            return model.infer_stream(request)
        except ServerError as error:
            if request.trace is not None:
                request.trace.ended(error.message)
            raise ServerError(error.code, said + error.message) from error

    def _note(self, caller: InstanceSpec, called: str) -> None:
        """Remember who calls whom: at exit callers go first."""
        with suppress(ServerError):  # it loads, or is going
            self._registry.get(caller.model_name, str(caller.version)).calls.add(called)

    async def control(self, caller: Instance, asked: dict[str, Any]) -> Any:
        """Do what a model asks by pb_utils.load_model and the like."""
        what, name = asked.get("what"), str(asked.get("model", ""))
        if what == "load":
            await self.control_plane.load(name, _files_decoded(asked.get("parameters")))
        elif what == "unload":
            await self.control_plane.unload(name, asked.get("unload_dependents") is True)
        elif what == "ready":
            return self._ready(name, str(asked.get("version", "")))
        elif what == "family":
            self._metrics.family(asked)
        elif what == "metric":
            self._metrics.metric(caller, asked)
        elif what == "value":
            return self._metrics.value(asked)
        else:
            raise invalid(f"nothing here is called '{what}'")
        return None

    def gone(self, caller: Instance) -> None:
        """An instance has ended: what it counted stays, what it measured does not."""
        self._metrics.gone(caller)

    def _ready(self, name: str, version: str) -> bool:
        try:
            return self._registry.get(name, version).ready
        except ServerError:
            return False


def _files_decoded(parameters: Any) -> dict[str, Any]:
    """The parameters of a load as a stub sends them: JSON has no bytes, so the contents of files come as base64."""
    if not isinstance(parameters, dict):
        raise invalid("the parameters of a load are not an object")
    try:
        return {
            key: base64.b64decode(value, validate=True) if key.startswith(FILE_PREFIX) else value
            for key, value in parameters.items()
        }
    except (TypeError, binascii.Error) as error:
        raise invalid(f"the files of a load are not base64: {error}") from None
