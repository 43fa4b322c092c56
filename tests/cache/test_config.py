"""What the command line says about the cache."""

from __future__ import annotations

import time

import pytest

from pyserver.cache.config import CacheSettings, LocalSettings, RedisSettings, make, parse
from pyserver.cache.local import LocalCache
from pyserver.cli import flags
from pyserver.errors import ServerError

GOOD: list[tuple[list[str], int, CacheSettings | None]] = [
    ([], 0, None),
    (["local,size=1048576"], 0, LocalSettings(1 << 20)),
    ([], 4096, LocalSettings(4096)),
    (["redis,host=there"], 0, RedisSettings("there")),
    (["redis,host=there", "redis,port=7000"], 0, RedisSettings("there", 7000)),
    (
        ["redis,host=h,port=1,user=u,password=p,db=2,timeout_ms=3,ttl=4"],
        0,
        RedisSettings("h", 1, "u", "p", 2, 3, 4),
    ),
]
BAD = {
    "local": "expected NAME,KEY=VALUE",
    "local,size": "expected NAME,KEY=VALUE",
    "local,size=": "expected NAME,KEY=VALUE",
    "local,bytes=4096": "unknown setting 'bytes', expected size",
    "local,size=big": "size is 'big', expected a number from 1024",
    "local,size=-1": "size is '-1'",
    "local,size=5": "size is '5', expected a number from 1024",
    "redis,port=1": "'host' is missing",
    "redis,host=h,port=0": "port is '0', expected a number from 1 to 65535",
    "redis,host=h,speed=9": "unknown setting 'speed'",
    "disk,path=/": "unknown cache 'disk', expected local or redis",
}


@pytest.mark.parametrize(("configs", "byte_size", "settings"), GOOD)
def test_what_it_can_be(configs: list[str], byte_size: int, settings: CacheSettings | None) -> None:
    assert parse(configs, byte_size) == settings


@pytest.mark.parametrize(("text", "says"), list(BAD.items()))
def test_what_it_cannot(text: str, says: str) -> None:
    with pytest.raises(ServerError) as refused:
        parse([text], 0)
    assert says in refused.value.message
    assert "--cache-config" in refused.value.message


def test_one_cache_only() -> None:
    for configs, byte_size in ((["local,size=4096", "redis,host=h"], 0), (["local,size=4096"], 4096)):
        with pytest.raises(ServerError):
            parse(configs, byte_size)


def test_credentials_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITONCACHE_REDIS_PASSWORD", "secret")
    assert parse(["redis,host=h"], 0) == RedisSettings("h", password="secret")
    assert parse(["redis,host=h,password=mine"], 0) == RedisSettings("h", password="mine")


def test_the_command_line_refuses_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        flags.parse(["--model-repository", ".", "--cache-config", "local,size=x"])
    assert exited.value.code == 2
    assert "--cache-config local: size is 'x'" in capsys.readouterr().err
    settings = flags.parse(["--model-repository", ".", "--response-cache-byte-size", "4096"])
    assert parse(settings.cache_config, settings.response_cache_byte_size) == LocalSettings(4096)


async def test_a_local_cache_is_made() -> None:
    cache = make(LocalSettings(4096), time.monotonic_ns)
    assert isinstance(cache, LocalCache)
    await cache.close()
