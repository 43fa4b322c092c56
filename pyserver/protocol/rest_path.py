"""The paths of the REST API: matched exactly and undecoded, as Triton does (`%6f` is three characters, not an `o`)."""

from __future__ import annotations

from pyserver.errors import invalid

_LARGEST = (1 << 63) - 1

_NAME = r"(?P<name>[^/]+)"
_VERSION = r"(?:/versions/(?P<version>[0-9]+))?"
_MODEL = f"/v2/models/{_NAME}{_VERSION}"
_REPOSITORY = r"/v2/repository(?:/(?P<repository>[^/]+))?"

SERVER = "/v2"
LIVE = "/v2/health/live"
READY = "/v2/health/ready"
ALL_STATISTICS = "/v2/models/stats"
MODEL = _MODEL
MODEL_READY = f"{_MODEL}/ready"
MODEL_CONFIG = f"{_MODEL}/config"
MODEL_STATISTICS = f"{_MODEL}/stats"
MODEL_TRACE_SETTING = f"/v2/models/{_NAME}/trace/setting"
TRACE_SETTING = "/v2/trace/setting"
LOGGING = "/v2/logging"
INFER = f"{_MODEL}/infer"
GENERATE = f"{_MODEL}/generate"
GENERATE_STREAM = f"{_MODEL}/generate_stream"
INDEX = f"{_REPOSITORY}/index"
LOAD = f"{_REPOSITORY}/models/{_NAME}/load"
UNLOAD = f"{_REPOSITORY}/models/{_NAME}/unload"

_SYSTEM = r"/v2/systemsharedmemory(?:/region/(?P<name>[^/]+))?"
_CUDA = r"/v2/cudasharedmemory(?:/region/(?P<name>[^/]+))?"
SYSTEM_STATUS, SYSTEM_REGISTER, SYSTEM_UNREGISTER = f"{_SYSTEM}/status", f"{_SYSTEM}/register", f"{_SYSTEM}/unregister"
CUDA_STATUS, CUDA_REGISTER, CUDA_UNREGISTER = f"{_CUDA}/status", f"{_CUDA}/register", f"{_CUDA}/unregister"

_V1_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+))?"
ROOT, V1_MODELS, V1_MODEL = "/", "/v1/models", _V1_MODEL
V1_PREDICT, V1_EXPLAIN = f"{_V1_MODEL}:predict", f"{_V1_MODEL}:explain"


def parse_version(digits: str) -> str:
    """The version in a path, without leading zeros; "" where there is none. ServerError (400) beyond 2^63-1."""
    if not digits:
        return ""
    plain = digits.lstrip("0") or "0"
    if len(plain) > len(str(_LARGEST)) or int(plain) > _LARGEST:
        raise invalid(
            f"failed to get model version from specified version string '{digits[:64]}' "
            f"(details: greater than {_LARGEST}), version should be an integral value > 0"
        )
    return plain
