"""From `sys.argv` to `Settings`: a parser made from the table in `pyserver.settings`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pyserver import __version__
from pyserver.cache import config as cache_config
from pyserver.errors import ServerError
from pyserver.protocol import restricted
from pyserver.protocol.forwarding import forwarding
from pyserver.scheduler.rate_limiter import parse_resources
from pyserver.settings import Settings, flags

TITLES = {
    "repository": "models",
    "server": "server",
    "http": "REST",
    "grpc": "gRPC",
    "metrics": "metrics",
    "cache": "response cache",
    "limits": "limits",
    "logging": "logging",
}
WORDS = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}


def parse(arguments: Sequence[str]) -> Settings:
    """The settings that `arguments` ask for; prints what is wrong and exits with 2 where they can't be taken."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    if not given["model_repository"]:
        parser.error("no models to serve: give at least one --model-repository DIR")
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    settings = Settings(**fields)
    try:
        cache_config.parse(settings.cache_config, settings.response_cache_byte_size)
        parse_resources(settings.rate_limit_resource)
        restricted.parse_http(settings.http_restricted_api)
        restricted.parse_grpc(settings.grpc_restricted_protocol)
        forwarding(settings.http_header_forward_pattern)
        forwarding(settings.grpc_header_forward_pattern)
    except ServerError as error:
        parser.error(error.message)
    return settings


def make_parser() -> argparse.ArgumentParser:
    """One option a flag, grouped as the table says."""
    parser = argparse.ArgumentParser(
        "pyserver",
        description="Serve Triton model repositories over the V2 inference protocol, REST and gRPC.",
        usage="pyserver --model-repository DIR [options]",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pyserver {__version__}")
    groups = {key: parser.add_argument_group(title) for key, title in TITLES.items()}
    for name, default, about in flags():
        groups[about["group"]].add_argument(*_spellings(name), dest=name, **_options(default, about))
    return parser


def _spellings(name: str) -> list[str]:
    spelled = ["--" + name.replace("_", "-")]
    return [*spelled, "--model-store"] if name == "model_repository" else spelled


def _options(default: Any, about: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"help": about["help"], "metavar": about["metavar"] or None}
    if isinstance(default, bool):
        # `--flag` alone is true, as for tritonserver's flags that take no value.
        return {**options, "type": _boolean, "nargs": "?", "const": True, "default": default, "metavar": "BOOL"}
    if isinstance(default, tuple):
        return {**options, "action": "append", "default": []}
    if about["choices"]:
        return {**options, "choices": about["choices"], "default": default}
    if default != "":
        options["help"] += f" (default {default:g})" if isinstance(default, float) else f" (default {default})"
    return {**options, "type": type(default), "default": default}


def _boolean(text: str) -> bool:
    if text.lower() not in WORDS:
        raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")
    return WORDS[text.lower()]
