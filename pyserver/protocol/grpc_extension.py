"""What a gRPC request's inputs and outputs ask beyond tensors: shared memory and classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyserver.errors import invalid
from pyserver.protocol.grpc_parameters import custom_parameter, wrong_type
from pyserver.types import Extension, Parameter, Part, RequestedOutput

REGION, OFFSET, SIZE = "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"
CLASSES = "classification"
_OURS = frozenset((CLASSES, REGION, OFFSET, SIZE))


def decode_outputs(
    given: Sequence[tuple[str, dict[str, Any] | None]], inputs: dict[int, Part] | None
) -> tuple[list[RequestedOutput] | None, Extension | None]:
    """The outputs asked for; None for all. Of two of one name the first holds, as in Triton.

    With them what is asked beyond tensors, `inputs` in shared memory included; None if nothing is.
    """
    if len(given) == 1 and given[0][1] is None and inputs is None:
        return [RequestedOutput(given[0][0], True)], None
    outputs: dict[str, RequestedOutput] = {}
    places: dict[str, Part] = {}
    classes: dict[str, int] = {}
    for name, parameters in given:
        if name in outputs:
            continue
        own = None
        if parameters is not None:
            where = f"output '{name[:64]}'"
            if most := _unsigned(parameters, CLASSES, where):
                classes[name] = most
            if REGION in parameters:
                if most:
                    raise invalid(
                        "Output can't set both 'shared_memory_region' and 'classification': both are set of " + where
                    )
                places[name] = decode_place(parameters, where)
            own = own_parameters(parameters)
        outputs[name] = RequestedOutput(name, True, own)
    extension = Extension(inputs or {}, places, classes) if inputs or places or classes else None
    return list(outputs.values()) or None, extension


def decode_place(given: dict[str, Any], where: str) -> Part:
    """Where in shared memory a tensor lies. Without a size it has 0 bytes, which no region gives."""
    region = given[REGION]
    if not isinstance(region, str):
        raise wrong_type(REGION, "string_param", where)
    return Part(region, _unsigned(given, OFFSET, where), _unsigned(given, SIZE, where))


def own_parameters(given: dict[str, Any]) -> dict[str, Parameter] | None:
    """The parameters of an input or an output that are not the protocol's; errors as for a request's."""
    return {key: custom_parameter(key, value) for key, value in given.items() if key not in _OURS} or None


def _unsigned(given: dict[str, Any], key: str, where: str) -> int:
    value = given.get(key, 0)
    if type(value) is not int:
        raise wrong_type(key, "int64_param", where)
    if value < 0:
        raise invalid(f"parameter '{key}' of {where} is {value}, expected 0 or more")
    return value
