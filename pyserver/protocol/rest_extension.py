"""What a REST request's inputs and outputs ask beyond tensors: shared memory and classification."""

from __future__ import annotations

from typing import Any

from pyserver.errors import invalid
from pyserver.protocol import rest_values as json_as
from pyserver.types import Extension, Parameter, Part, RequestedOutput

REGION, OFFSET, SIZE = "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"
CLASSES = "classification"
_OURS = frozenset(("binary_data_size", "binary_data", CLASSES, REGION, OFFSET, SIZE))


def decode_outputs(value: object, inputs: dict[int, Part]) -> tuple[list[RequestedOutput] | None, Extension | None]:
    """The outputs asked for, None for an empty list: all. Of two of one name the first holds, as in Triton.

    With them what is asked beyond tensors, `inputs` in shared memory included; None if nothing is.
    """
    outputs: dict[str, RequestedOutput] = {}
    places: dict[str, Part] = {}
    classes: dict[str, int] = {}
    for item in json_as.array(value, "outputs", ""):
        fields = json_as.mapping(item, "outputs", "")
        name = json_as.string(json_as.member(fields, "name", " of an output"), "name", " of an output")
        where = f" of output '{json_as.shortened(name)}'"
        parameters = json_as.mapping(fields.get("parameters", {}), "parameters", where)
        binary = json_as.boolean(parameters.get("binary_data", False), "binary_data", where)
        if name in outputs:
            continue
        outputs[name] = RequestedOutput(name, binary, own_parameters(parameters))
        if most := json_as.unsigned(parameters.get(CLASSES, 0), CLASSES, where):
            classes[name] = most
        if REGION in parameters:
            _check_alone(name, parameters)
            places[name] = decode_place(parameters, where)
    return list(outputs.values()) or None, extension_of(inputs, places, classes)


def extension_of(inputs: dict[int, Part], outputs: dict[str, Part], classes: dict[str, int]) -> Extension | None:
    """The three together; None where there is nothing in any."""
    return Extension(inputs, outputs, classes) if inputs or outputs or classes else None


def decode_place(parameters: dict[str, Any], where: str) -> Part:
    """Where in shared memory a tensor lies. Without a size it has 0 bytes, which no region gives."""
    return Part(
        json_as.string(parameters[REGION], REGION, where),
        json_as.unsigned(parameters.get(OFFSET, 0), OFFSET, where, json_as.INT64_END),
        json_as.unsigned(parameters.get(SIZE, 0), SIZE, where, json_as.INT64_END),
    )


def own_parameters(parameters: dict[str, Any]) -> dict[str, Parameter] | None:
    """The parameters of a tensor that are not the protocol's; None for none."""
    own = {
        key: value
        for key, value in parameters.items()
        if key not in _OURS and isinstance(value, bool | int | float | str)
    }
    return own or None


def _check_alone(name: str, parameters: dict[str, Any]) -> None:
    for other in ("binary_data", CLASSES):
        if parameters.get(other):
            raise invalid(
                f"Output can't set both 'shared_memory_region' and '{other}': both are set of output "
                f"'{json_as.shortened(name)}'"
            )
