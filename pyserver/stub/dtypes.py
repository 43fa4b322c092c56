"""Which of numpy's dtypes is which of the protocol's datatypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyserver.ipc.messages import DATATYPES

_CLASSES: dict[str, Any] = {
    "BOOL": bool,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}

BY_DATATYPE = {name: np.dtype(kind) for name, kind in _CLASSES.items()}
"""The dtype of an input. BF16 is missing: numpy has none."""
DATATYPE_OF = {dtype: name for name, dtype in BY_DATATYPE.items()}
"""Of a native, fixed-size dtype or `object`; what else is accepted, `unusual` says."""
CODES = {name: code for code, name in enumerate(DATATYPES)}

TRITON_STRING_TO_NUMPY = {"TYPE_STRING" if name == "BYTES" else f"TYPE_{name}": kind for name, kind in _CLASSES.items()}
_BY_CODE = {CODES[name]: kind for name, kind in _CLASSES.items()}
_STRING_KINDS = "SUT"  # bytes, fixed-width unicode, numpy 2's StringDType


def unusual(dtype: np.dtype[Any]) -> str | None:
    """The datatype of a dtype that is not in `DATATYPE_OF`: strings of any kind, or bfloat16 of ml_dtypes."""
    if dtype.kind in _STRING_KINDS:
        return "BYTES"
    if dtype.name == "bfloat16" and dtype.itemsize == 2:
        return "BF16"
    return None


def triton_string_to_numpy(triton_type_string: str) -> Any:
    """The numpy type of a config's data_type, such as TYPE_FP32; KeyError for others, and for TYPE_BF16."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def triton_to_numpy_type(data_type: int) -> Any:
    """The numpy type of a datatype's number (11: float32), or None."""
    return _BY_CODE.get(data_type)


def numpy_to_triton_type(data_type: Any) -> int | None:
    """The number of a numpy type's datatype (np.float32: 11), or None."""
    name = DATATYPE_OF.get(np.dtype(data_type))
    return None if name is None else CODES[name]
