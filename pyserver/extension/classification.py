"""The classification extension: an output's k greatest values as `value:index[:label]`. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyserver.core import bytes as byte_strings
from pyserver.core.tensor import byte_size, element_count
from pyserver.errors import internal, invalid
from pyserver.types import Tensor

UNSORTABLE = ("BYTES", "BOOL", "FP16", "BF16")
_CODES = {
    "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4",
    "UINT64": "u8", "FP32": "f4", "FP64": "f8",
}  # fmt: skip


def classified(tensor: Tensor, most: int, batching: bool, labels: Sequence[str], limit: int) -> Tensor:
    """The `most` greatest elements of `tensor`, or of each row where its first dimension is the batch.

    A BYTES tensor of shape [k] or [batch, k]: each element is `value:index`, and `:label` where `labels` has one at
    that index; greatest first, of equal ones the first, NaN last. ServerError (INVALID_ARG) for a datatype that has no
    order here, and for more than `limit` results; INTERNAL if the data is not what the shape says.
    """
    import numpy as np

    if tensor.datatype in UNSORTABLE:
        raise invalid(
            f"class result not available for output due to unsupported type '{tensor.datatype}' of "
            f"output '{tensor.name}'"
        )
    if len(tensor.data) != byte_size(tensor.datatype, tensor.shape):
        raise internal(f"output '{tensor.name}' has {len(tensor.data)} bytes, its shape is {list(tensor.shape)}")
    values = np.frombuffer(tensor.data, _CODES[tensor.datatype])
    rows, shape = (tensor.shape[0], tensor.shape[1:]) if batching and tensor.shape else (1, tensor.shape)
    values = values.reshape(rows, element_count(shape))
    count = min(most, values.shape[1])
    if rows * count > limit:
        raise invalid(
            f"classification output tensor too large: output '{tensor.name}' would have {rows * count} elements, "
            f"at most {limit} are allowed (--max-classification-size)"
        )
    elements = [text.encode() for row in values for text in _texts(row, _greatest(row, count), labels)]
    return Tensor(tensor.name, "BYTES", (rows, count) if batching else (count,), byte_strings.pack(elements))


def _greatest(row: Any, count: int) -> Any:
    """The indices of the `count` greatest values in order."""
    import numpy as np

    # Reversed twice, so that of equal values the first comes first; NaN, which sorts last, is made to come last too.
    order = len(row) - 1 - np.argsort(row[::-1], kind="stable")[::-1]
    if row.dtype.kind == "f":
        order = np.concatenate([order[~np.isnan(row[order])], order[np.isnan(row[order])]])
    return order[:count]


def _texts(row: Any, indices: Any, labels: Sequence[str]) -> list[str]:
    form = "%f:%d" if row.dtype.kind == "f" else "%d:%d"
    texts = [form % pair for pair in zip(row[indices].tolist(), indices.tolist(), strict=True)]
    return [
        f"{text}:{labels[index]}" if index < len(labels) else text
        for text, index in zip(texts, indices.tolist(), strict=True)
    ]
