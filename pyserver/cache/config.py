"""From the command line to a cache: `local,size=BYTES`, or `redis,host=HOST,port=PORT,...`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pyserver.errors import invalid

if TYPE_CHECKING:
    from pyserver.cache.cache import Cache
    from pyserver.types import Clock

SMALLEST = 1024


class LocalSettings(NamedTuple):
    """A cache of `size` bytes in this process."""

    size: int


class RedisSettings(NamedTuple):
    """A Redis server. `timeout_ms` bounds a connection and an answer; entries live `ttl` seconds, 0 for ever."""

    host: str
    port: int = 6379
    user: str = ""
    password: str = ""
    db: int = 0
    timeout_ms: int = 100
    ttl: int = 0


CacheSettings: TypeAlias = "LocalSettings | RedisSettings"

_REDIS_NUMBERS = {"port": (1, 65535), "db": (0, 1 << 31), "timeout_ms": (1, 60_000), "ttl": (0, 1 << 31)}


def parse(configs: Sequence[str], byte_size: int) -> CacheSettings | None:
    """What `--cache-config` (given any number of times) and `--response-cache-byte-size` ask for; None for no cache.

    ServerError (INVALID_ARG) for what is neither. User and password of Redis may stand in TRITONCACHE_REDIS_USERNAME
    and TRITONCACHE_REDIS_PASSWORD.
    """
    given: dict[str, dict[str, str]] = {}
    for text in configs:
        name, _, pairs = text.partition(",")
        for pair in pairs.split(","):
            key, equals, value = pair.partition("=")
            if not equals or not key or not value:
                raise invalid(f"--cache-config: got '{text}', expected NAME,KEY=VALUE as in local,size=1048576")
            given.setdefault(name, {})[key] = value
    if byte_size:
        if given:
            raise invalid("--response-cache-byte-size and --cache-config exclude each other")
        given["local"] = {"size": str(byte_size)}
    if len(given) > 1:
        raise invalid(f"--cache-config: expected one cache, got {' and '.join(sorted(given))}")
    for name, pairs_of in given.items():
        return _of(name, pairs_of)
    return None


def make(settings: CacheSettings, clock: Clock) -> Cache:
    """The cache that `settings` describe, on the running loop. ServerError where Redis' client is not installed."""
    if isinstance(settings, LocalSettings):
        from pyserver.cache.local import LocalCache

        return LocalCache(settings.size, clock)
    try:
        from pyserver.cache.redis import RedisCache
    except ImportError as error:
        raise invalid(f"--cache-config redis needs the client package: pip install redis ({error})") from None
    return RedisCache(settings, clock)


def _of(name: str, pairs: Mapping[str, str]) -> CacheSettings:
    if name == "local":
        _check_keys(name, pairs, ("size",))
        if "size" not in pairs:
            raise invalid("--cache-config local: 'size' is missing, expected local,size=BYTES")
        return LocalSettings(_number(name, "size", pairs["size"], SMALLEST, 1 << 62))
    if name != "redis":
        raise invalid(f"--cache-config: unknown cache '{name}', expected local or redis")
    _check_keys(name, pairs, RedisSettings._fields)
    if "host" not in pairs:
        raise invalid("--cache-config redis: 'host' is missing, expected redis,host=HOST,port=PORT")
    numbers = {key: _number(name, key, pairs[key], *_REDIS_NUMBERS[key]) for key in _REDIS_NUMBERS if key in pairs}
    return RedisSettings(
        host=pairs["host"],
        user=pairs.get("user", os.environ.get("TRITONCACHE_REDIS_USERNAME", "")),
        password=pairs.get("password", os.environ.get("TRITONCACHE_REDIS_PASSWORD", "")),
        **numbers,
    )


def _check_keys(name: str, pairs: Mapping[str, str], known: Sequence[str]) -> None:
    for key in pairs:
        if key not in known:
            raise invalid(f"--cache-config {name}: unknown setting '{key}', expected {', '.join(known)}")


def _number(name: str, key: str, text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise invalid(f"--cache-config {name}: {key} is '{text}', expected a number from {least} to {most}")
    return int(text)
