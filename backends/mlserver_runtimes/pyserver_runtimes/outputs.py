"""Which of a model's methods a request asks for, and what they return as outputs."""

from __future__ import annotations

from typing import Any, List, Sequence

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, RequestOutput, ResponseOutput


def requested(runtime: MLModel, payload: InferenceRequest, known: Sequence[str], default: str) -> List[RequestOutput]:
    """The outputs that a request names, each one of `known`, or else the default one. InferenceError for another."""
    if not payload.outputs:
        return [RequestOutput(name=default)]
    for output in payload.outputs:
        if output.name not in known:
            listed = ", ".join(f"'{name}'" for name in known)
            raise InferenceError(
                f"{type(runtime).__name__} only supports {listed} as outputs ({output.name} was received)"
            )
    return list(payload.outputs)


def refuse(model: Any, output: str) -> InferenceError:
    """The error for an output that this kind of model does not have."""
    return InferenceError(f"{type(model).__name__} models do not support '{output}'")


def encoded(runtime: MLModel, outputs: Sequence[RequestOutput], values: Sequence[Any]) -> List[ResponseOutput]:
    """The outputs with their values; a data frame's columns are an output each."""
    frames = [value for value in values if _is_frame(value)]
    if not frames:
        return [runtime.encode(value, output, NumpyCodec) for output, value in zip(outputs, values)]
    if len(values) > 1:
        names = ", ".join(output.name for output in outputs)
        raise InferenceError(f"{names} were asked for together, and one of them is a data frame: expected it alone")
    from mlserver.codecs import PandasCodec

    return list(PandasCodec.encode_outputs(frames[0]))


def _is_frame(value: Any) -> bool:
    """Whether it is a pandas DataFrame, without importing pandas for it."""
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] == "pandas"
