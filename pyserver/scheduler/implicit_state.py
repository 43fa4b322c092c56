"""Implicit state: outputs of one request that are inputs of the next one of its sequence, kept by the server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyserver.errors import internal
from pyserver.types import InferResponse, RequestedOutput, Tensor

ANY = -1


@dataclass(frozen=True, slots=True)
class StateSpec:
    """One state: where it comes from and goes to, `dims` without batch dimension, and what a sequence begins with."""

    input_name: str
    output_name: str
    datatype: str
    dims: tuple[int, ...]
    initial_shape: tuple[int, ...]
    initial: bytes


class States:
    """The states of a model. `outputs` are its configured outputs: a state that is one of them is returned as well."""

    def __init__(self, model: str, specs: Sequence[StateSpec], outputs: Iterable[str], batching: bool) -> None:
        self._model = model
        self._specs = specs
        self._by_output = {spec.output_name: spec for spec in specs}
        self._outputs = tuple(outputs)
        self._row = (1,) if batching else ()

    def __bool__(self) -> bool:
        return bool(self._specs)

    def initial(self) -> dict[str, Tensor]:
        """What a sequence begins with, by the name of the input."""
        return {
            spec.input_name: Tensor(spec.input_name, spec.datatype, (*self._row, *spec.initial_shape), spec.initial)
            for spec in self._specs
        }

    def wanted(self, asked: list[RequestedOutput] | None) -> list[RequestedOutput] | None:
        """The outputs to ask the model for, so that the states are among them; `asked` by the client, None for all."""
        if asked is None:
            asked = [RequestedOutput(name) for name in self._outputs]
        named = {output.name for output in asked}
        return asked + [RequestedOutput(name) for name in self._by_output if name not in named]

    def store(self, states: dict[str, Tensor], response: InferResponse, asked: list[RequestedOutput] | None) -> None:
        """Take the states out of `response` into `states`, copied; ServerError for one of another type or shape."""
        returned = self._outputs if asked is None else [output.name for output in asked]
        kept = []
        for tensor in response.outputs:
            spec = self._by_output.get(tensor.name)
            if spec is not None:
                self._check(spec, tensor)
                states[spec.input_name] = Tensor(spec.input_name, tensor.datatype, tensor.shape, bytes(tensor.data))
            if spec is None or tensor.name in returned:
                kept.append(tensor)
        response.outputs = kept

    def _check(self, spec: StateSpec, tensor: Tensor) -> None:
        what = f"model '{self._model}': state output '{tensor.name}'"
        if tensor.datatype != spec.datatype:
            raise internal(f"{what} has datatype {tensor.datatype}, expected {spec.datatype}")
        expected = (*self._row, *spec.dims)
        if len(tensor.shape) != len(expected) or any(
            want not in (ANY, got) for want, got in zip(expected, tensor.shape, strict=True)
        ):
            raise internal(f"{what} has shape {list(tensor.shape)}, expected {list(expected)}")
