"""The REST codec of inference: `decode` a body, `encode` an answer."""

from __future__ import annotations

from pyserver.protocol.rest_request import MAX_JSON_SIZE, decode, parse_header_length
from pyserver.protocol.rest_response import encode

__all__ = ["MAX_JSON_SIZE", "decode", "encode", "parse_header_length"]
