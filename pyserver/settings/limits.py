"""Flags that bound what the server holds: queues, memory, resources, the response cache."""

from __future__ import annotations

from dataclasses import dataclass

from pyserver.settings.flag import MEBIBYTE, flag


@dataclass(frozen=True)
class CacheSettings:
    """The response cache."""

    cache_config: tuple[str, ...] = flag(
        (),
        "keep answers of models with response_cache: local,size=BYTES, or redis,host=HOST,port=PORT[,user=,password=,"
        "db=,timeout_ms=,ttl=]; may be given several times",
        "cache",
        "CACHE,KEY=VALUE",
    )
    response_cache_byte_size: int = flag(0, "deprecated: as --cache-config local,size=BYTES", "cache", "BYTES")


@dataclass(frozen=True)
class LimitSettings:
    """What may wait, and how much memory it may take."""

    max_queue_requests: int = flag(10_000, "requests that may wait for one model", "limits", "N")
    max_queue_bytes: int = flag(4096 * MEBIBYTE, "bytes that may wait for one model", "limits", "BYTES")
    default_queue_timeout_secs: float = flag(
        0.0, "how long a request may wait where its model's queue policy doesn't say; 0 for ever", "limits", "SECONDS"
    )
    rate_limit: str = flag(
        "off", "execution_count: instances execute in turns, and while they hold the resources they name", "limits",
        choices=("off", "execution_count"),
    )  # fmt: skip
    rate_limit_resource: tuple[str, ...] = flag(
        (),
        "how much there is of a resource; as much as one instance needs unless given",
        "limits",
        "NAME:COUNT[:DEVICE]",
    )
    max_model_memory: int = flag(
        0, "shared memory for one model's tensors in each direction; 0 for half the memory limit", "limits", "BYTES"
    )
