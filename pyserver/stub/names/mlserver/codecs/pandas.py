"""Content type `pd`: data frames, a tensor for each column. Pandas is imported when a frame is made or met."""

from __future__ import annotations

import json
import sys
from typing import Any, ClassVar, List, Optional

import numpy as np

from mlserver.codecs.base import RequestCodec, register_request_codec
from mlserver.codecs.datetime import DatetimeCodec
from mlserver.codecs.errors import CodecError
from mlserver.codecs.json import encode_to_json
from mlserver.codecs.lists import as_list, flattened
from mlserver.codecs.numpy import array_of, described
from mlserver.codecs.string import StringCodec
from mlserver.codecs.text import text_tensor
from mlserver.codecs.utils import content_type_of, get_decoded, has_decoded
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput, TensorData
from pyserver.stub.mlserver.built import ArraySource, lazy_data, lazy_kind

_LAZY = lazy_kind(TensorData)
JSON_COLUMN = "pd_json"


class _FrameHint:
    """Equal to pandas.DataFrame, without pandas being imported for it."""

    def __eq__(self, other: object) -> bool:
        return getattr(other, "__name__", "") == "DataFrame" and _module_of(other) == "pandas"

    __hash__ = None  # type: ignore[assignment]


def _module_of(kind: Any) -> str:
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def _column(tensor: Any) -> Any:
    """A column of a frame: what it was decoded to, else its elements by datatype."""
    if has_decoded(tensor):
        decoded = get_decoded(tensor)
        return _rows(decoded) if isinstance(decoded, np.ndarray) else decoded
    if content_type_of(tensor) == JSON_COLUMN:
        return [None if item is None else json.loads(item) for item in as_list(tensor.data)]
    if tensor.datatype == "BYTES":
        return flattened(list(as_list(tensor.data)))
    return _rows(array_of(tensor))


def _rows(array: Any) -> Any:
    """One value a row: `[N, 1]` as `[N]`, and of more dimensions a list of arrays."""
    if array.ndim > 1 and array.shape[1:] != (1,) * (array.ndim - 1):
        return list(array)
    return array.reshape(-1)


def _tensor(kind: Any, name: str, series: Any, use_bytes: bool) -> Any:
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _tensor(kind, name, series.astype(dtype.categories.dtype), use_bytes)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        times = [None if pd.isna(item) else item.isoformat() for item in series]
        return text_tensor(kind, name, DatetimeCodec._encoded(times, use_bytes), DatetimeCodec.ContentType)
    if pd.api.types.is_timedelta64_dtype(dtype):
        return _tensor(kind, name, series.dt.total_seconds(), use_bytes)
    if isinstance(dtype, pd.StringDtype) or dtype.kind == "O":
        return _objects(kind, name, [None if _absent(item) else item for item in series.tolist()], use_bytes)
    if not isinstance(dtype, np.dtype):  # nullable numbers and booleans, and those of pyarrow
        return _nullable(kind, name, series)
    return _numbers(kind, name, series.to_numpy())


def _absent(item: Any) -> bool:
    import pandas as pd

    return item is None or item is pd.NA or (isinstance(item, float) and item != item)


def _objects(kind: Any, name: str, items: List[Any], use_bytes: bool) -> Any:
    given = [item for item in items if item is not None]
    if all(isinstance(item, str) for item in given):
        return text_tensor(kind, name, StringCodec._encoded(items, use_bytes), StringCodec.ContentType)
    if all(isinstance(item, bytes) for item in given):
        made = kind(name=name, datatype="BYTES", shape=[len(items), 1], data=items)
        return made
    return text_tensor(kind, name, [encode_to_json(item, use_bytes) for item in items], JSON_COLUMN)


def _nullable(kind: Any, name: str, series: Any) -> Any:
    """Without gaps an array; with gaps floats (NaN), booleans as a list with None."""
    inner = getattr(series.dtype, "numpy_dtype", None) or np.dtype(getattr(series.dtype, "type", object))
    if not series.isna().any():
        return _numbers(kind, name, series.to_numpy(dtype=inner))
    if inner.kind in "iuf":
        return _numbers(kind, name, series.to_numpy(dtype="f8", na_value=np.nan))
    items = [None if _absent(item) else item for item in series.tolist()]
    return kind(name=name, datatype="BOOL" if inner.kind == "b" else "BYTES", shape=[len(items), 1], data=items)


def _numbers(kind: Any, name: str, array: Any) -> Any:
    datatype, shape = described(array, name)
    data = lazy_data(_LAZY, ArraySource(array))
    return kind.model_construct(name=name, datatype=datatype, shape=shape, data=data)


@register_request_codec
class PandasCodec(RequestCodec):
    """Data frames."""

    ContentType = "pd"
    TypeHint: ClassVar[Any] = _FrameHint()

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Data frames."""
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(payload, pandas.DataFrame)

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: Optional[str] = None, use_bytes: bool = True, **kwargs: Any
    ) -> InferenceResponse:
        """A response with an output for each column."""
        return InferenceResponse.model_construct(
            model_name=model_name,
            model_version=model_version,
            parameters=Parameters(content_type=cls.ContentType),
            outputs=cls.encode_outputs(payload, use_bytes=use_bytes),
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The frame of the outputs."""
        return cls._frame(response.outputs)

    @classmethod
    def encode_outputs(cls, payload: Any, use_bytes: bool = True) -> List[ResponseOutput]:
        """An output for each column."""
        return [_tensor(ResponseOutput, str(name), payload[name], use_bytes) for name in payload]

    @classmethod
    def encode_request(cls, payload: Any, use_bytes: bool = True, **kwargs: Any) -> InferenceRequest:
        """A request with an input for each column."""
        inputs = [_tensor(RequestInput, str(name), payload[name], use_bytes) for name in payload]
        return InferenceRequest.model_construct(parameters=Parameters(content_type=cls.ContentType), inputs=inputs)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The frame of the inputs."""
        return cls._frame(request.inputs)

    @staticmethod
    def _frame(tensors: List[Any]) -> Any:
        import pandas as pd

        try:
            return pd.DataFrame({tensor.name: _column(tensor) for tensor in tensors})
        except ValueError as error:
            raise CodecError(f"the columns make no data frame: {error}") from None
