"""Codecs: Python values to tensors and back, by content type, type hint or what they are."""

from mlserver.codecs.base import (
    InputCodec,
    InputCodecLike,
    RequestCodec,
    RequestCodecLike,
    register_input_codec,
    register_request_codec,
)
from mlserver.codecs.numpy import NumpyCodec, NumpyRequestCodec
from mlserver.codecs.pandas import PandasCodec
from mlserver.codecs.string import StringCodec, StringRequestCodec

from mlserver.codecs.base64 import Base64Codec  # isort: skip
from mlserver.codecs.datetime import DatetimeCodec
from mlserver.codecs.decorator import decode_args
from mlserver.codecs.errors import CodecError
from mlserver.codecs.utils import (
    DecodedParameterName,
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    get_decoded_or_raw,
    has_decoded,
)

__all__ = [
    "Base64Codec",
    "CodecError",
    "DatetimeCodec",
    "DecodedParameterName",
    "InputCodec",
    "InputCodecLike",
    "NumpyCodec",
    "NumpyRequestCodec",
    "PandasCodec",
    "RequestCodec",
    "RequestCodecLike",
    "StringCodec",
    "StringRequestCodec",
    "decode_args",
    "decode_inference_request",
    "decode_request_input",
    "encode_inference_response",
    "encode_response_output",
    "get_decoded",
    "get_decoded_or_raw",
    "has_decoded",
    "register_input_codec",
    "register_request_codec",
]
