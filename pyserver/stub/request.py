"""Requests as a model sees them: pb_utils.InferenceRequest."""

from __future__ import annotations

import json
from typing import Any, Awaitable, Dict

from pyserver.ipc.messages import Windows, unpack_json, unpack_layout
from pyserver.ipc.words import cancel_words, taken_words
from pyserver.stub import bls, executing
from pyserver.stub.answers import Answers
from pyserver.stub.bls import InferenceTrace, PreferredMemory, ResponseIterator
from pyserver.stub.exceptions import TritonModelException, incompatible
from pyserver.stub.outbox import Outbox
from pyserver.stub.reply import InferenceResponseSender, Reply
from pyserver.stub.response import InferenceResponse, check_parameters
from pyserver.stub.tensor import InputTensor, Tensor, input_spec

_MOST_LAYOUTS = 4096
_EVEN = range(0, 1 << 30, 2)
RELEASE_ALL = 1
RELEASE_RESCHEDULE = 2


class InferenceRequest:
    """A request that a model makes of another one.

    TypeError where `inputs`, `requested_output_names` or `model_name` is missing or of another type.
    """

    __slots__ = ("_facts", "_inputs", "_model_name", "_model_version", "_preferred_memory", "_requested", "_trace")
    _facts: dict[str, Any] | None
    _inputs: list[Any] | None

    def __init__(
        self,
        request_id: str = "",
        correlation_id: int | str = 0,
        inputs: list[Tensor] | None = None,
        requested_output_names: list[str] | None = None,
        model_name: str | None = None,
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
        trace: InferenceTrace | None = None,
        parameters: dict[str, bool | int | str] | None = None,
    ) -> None:
        if inputs is None or requested_output_names is None or not isinstance(model_name, str):
            raise incompatible(
                "InferenceRequest(request_id: str = '', correlation_id: int | str = 0, inputs: List[Tensor], "
                "requested_output_names: List[str], model_name: str, ...)",
                inputs,
                requested_output_names,
                model_name,
            )
        if not isinstance(correlation_id, (int, str)) or (isinstance(correlation_id, int) and correlation_id < 0):
            raise TritonModelException(
                f"Correlation ID must be a non-negative integer or a string, got {correlation_id!r}"
            )
        if parameters:
            check_parameters(parameters)
        self._facts = {
            "id": request_id,
            "correlation_id": correlation_id,
            "flags": flags,
            "timeout_us": timeout,
            "parameters": parameters or {},
        }
        self._inputs = list(inputs)
        self._requested = frozenset(requested_output_names)
        self._model_name = model_name
        self._model_version = model_version
        self._preferred_memory = preferred_memory
        self._trace = trace or InferenceTrace()

    def request_id(self) -> str:
        """The client's id, or ""."""
        return str(self._fact("id", ""))

    def correlation_id(self) -> int | str:
        """The sequence that the request belongs to; 0 for none."""
        return self._fact("correlation_id", 0)  # type: ignore[no-any-return]

    def flags(self) -> int:
        """A mask of TRITONSERVER_REQUEST_FLAG_SEQUENCE_START and ..._END."""
        return int(self._fact("flags", 0))

    def set_flags(self, flags: int) -> None:
        """Replace the mask."""
        self._known()["flags"] = flags

    def timeout(self) -> int:
        """The client's timeout in microseconds; 0 for none."""
        return int(self._fact("timeout_us", 0))

    def parameters(self) -> str:
        """The custom parameters as a JSON object."""
        return json.dumps(self._fact("parameters", {}), separators=(",", ":"))

    def inputs(self) -> list[Tensor]:
        """The input tensors, in the order of the request."""
        return self._inputs or []

    def requested_output_names(self) -> set[str]:
        """The outputs that are wanted, as a new set."""
        return set(self._requested)

    def trace(self) -> InferenceTrace:
        """The trace that the request belongs to."""
        return self._trace

    def exec(self, decoupled: bool = False) -> InferenceResponse | ResponseIterator:
        """Run the request on its model and wait: its response, or (decoupled) its responses. An error is a response."""
        return bls.run(self._asked(decoupled), self.inputs(), decoupled)

    def async_exec(self, decoupled: bool = False) -> Awaitable[InferenceResponse | ResponseIterator]:
        """Run the request on its model: an awaitable of what `exec` gives. RuntimeError outside of an event loop."""
        return bls.run_async(self._asked(decoupled), self.inputs(), decoupled)

    def _asked(self, decoupled: bool) -> dict[str, Any]:
        fields = {key: value for key, value in self._known().items() if value}
        fields.update(model_name=self._model_name, model_version=self._model_version, decoupled=bool(decoupled))
        fields["outputs"] = sorted(self._requested)
        number = self._trace.number or executing.trace()
        if number:
            fields["trace_id"] = number
        return fields

    def _known(self) -> dict[str, Any]:
        assert self._facts is not None
        return self._facts

    def _fact(self, name: str, default: Any) -> Any:
        return self._known().get(name, default)


class RequestLayout:
    """The parsed layout of a request: its inputs, and which outputs to send (`wanted`; None: all of them)."""

    __slots__ = ("requested", "specs", "wanted")

    def __init__(self, packed: bytes, configured: frozenset[str]) -> None:
        layout = unpack_layout(packed)
        self.specs = [input_spec(spec) for spec in layout.tensors]
        self.requested = frozenset(layout.outputs) or configured
        self.wanted = self.requested or None


class RequestLayouts(Dict[bytes, RequestLayout]):
    """Parsed layouts by their bytes. `configured` are the outputs of the config: what is sent to who names none."""

    def __init__(self, configured: frozenset[str]) -> None:
        super().__init__()
        self._configured = configured

    def __missing__(self, packed: bytes) -> RequestLayout:
        if len(self) >= _MOST_LAYOUTS:
            self.clear()
        layout = self[packed] = RequestLayout(packed, self._configured)
        return layout


class Desk:
    """What every received request needs of the process: the request arena, its two tables, and the way back."""

    __slots__ = ("answers", "cancelled", "memory", "outbox", "taken")

    def __init__(self, memory: memoryview, answers: Answers, outbox: Outbox) -> None:
        self.memory = memory
        self.cancelled = cancel_words(memory)
        self.taken = taken_words(memory)
        self.answers = answers
        self.outbox = outbox


class ReceivedRequest(InferenceRequest):
    """A request that the server sent: a view of the request arena."""

    __slots__ = ("_desk", "_extras", "_layout", "_reply", "_windows", "key", "release_flags", "slot")

    def __init__(self, key: int, slot: int, layout: RequestLayout, windows: Windows, extras: bytes, desk: Desk) -> None:
        self.key = key
        self.slot = slot
        self._layout = layout
        self._windows = windows
        self._extras = extras
        self._desk = desk
        self._inputs = None
        self._facts = None
        self._reply: Reply | None = None
        self.release_flags = RELEASE_ALL

    def inputs(self) -> list[Tensor]:
        """The input tensors, in the order of the request."""
        inputs = self._inputs
        if inputs is None:
            memory, windows, specs = self._desk.memory, self._windows, self._layout.specs
            inputs = self._inputs = [
                InputTensor(spec, memory, windows[at], windows[at + 1]) for spec, at in zip(specs, _EVEN)
            ]
        return inputs

    def requested_output_names(self) -> set[str]:
        """The outputs that are wanted, as a new set; all of the model's if the client named none."""
        return set(self._layout.requested)

    def trace(self) -> InferenceTrace:
        """The trace that the request belongs to."""
        return InferenceTrace(self._fact("trace", None), self._fact("trace_id", 0))

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return bool(self._desk.cancelled[self.slot])

    def get_response_sender(self) -> InferenceResponseSender:
        """A sender of the request's answer, which execute then needs not return."""
        if self._reply is None:
            self._reply = Reply(self.key, self._layout.wanted, self._desk.answers, self._desk.outbox)
        return InferenceResponseSender(self._reply, self.is_cancelled)

    @property
    def has_sender(self) -> bool:
        """Whether somebody else may answer the request."""
        return self._reply is not None

    @property
    def wanted(self) -> frozenset[str] | None:
        """The names of the outputs to send; None for all."""
        return self._layout.wanted

    def take(self) -> bool:
        """Whether the answer is still owed; the caller owes it then."""
        return self._reply is None or self._reply.take()

    def set_release_flags(self, flags: int) -> None:
        """What becomes of the request after execute: TRITONSERVER_REQUEST_RELEASE_ALL, or ..._RESCHEDULE."""
        if flags not in (RELEASE_ALL, RELEASE_RESCHEDULE):
            raise TritonModelException(f"Unsupported request release flags {flags}")
        self.release_flags = flags

    def _known(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = unpack_json(self._extras) if self._extras else {}
        return self._facts
