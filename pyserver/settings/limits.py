"""Flags that bound what the server holds: the response cache, queues, memory, resources."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import MEBIBYTE, flag

CACHE = "cache"
GROUP = "limits"


@dataclass(frozen=True)
class CacheSettings:
    """The response cache."""

    cache_config: tuple[str, ...] = flag(
        (),
        "keep answers of models with response_cache",
        CACHE,
        "CACHE,KEY=VALUE",
        more="local,size=BYTES, or redis,host=HOST,port=PORT[,user=,password=,db=,timeout_ms=,ttl=];"
        " may be given several times",
    )
    response_cache_byte_size: int = flag(0, "deprecated: as --cache-config local,size=", CACHE, "BYTES")


@dataclass(frozen=True)
class LimitSettings:
    """What may wait, and how much memory it may take."""

    max_queue_requests: int = flag(10_000, "requests that may wait for one model", GROUP, "N")
    max_queue_bytes: int = flag(4096 * MEBIBYTE, "bytes that may wait for one model", GROUP, "BYTES")
    default_queue_timeout_secs: float = flag(
        0.0,
        "how long a request may wait; 0 for ever",
        GROUP,
        "SECONDS",
        more="where its model's queue policy doesn't say",
    )
    max_execution_secs: float = flag(
        0.0,
        "how long one execute may take; 0 for ever",
        GROUP,
        "SECONDS",
        more="then its process is ended; a model's parameter MAX_EXECUTION_SECS counts for more",
    )
    rate_limit: str = flag(
        "off",
        "whether instances execute in turns",
        GROUP,
        choices=("off", "execution_count"),
        more="execution_count: in turns, and while they hold the resources they name",
    )
    rate_limit_resource: tuple[str, ...] = flag(
        (),
        "how much there is of a resource",
        GROUP,
        "NAME:COUNT[:DEVICE]",
        more="as much as one instance needs unless given",
    )
    max_model_memory: int = flag(
        0,
        "shared memory for one model's tensors",
        GROUP,
        "BYTES",
        more="in each direction; 0 for half the memory limit",
    )
