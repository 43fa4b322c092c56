"""From `sys.argv`, the environment and a file to `Settings`: a parser made from the table in `pyserver.settings`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pyserver.cache import config as cache_config
from pyserver.cli import foreign, sources
from pyserver.cli.help import text as help_text
from pyserver.errors import ServerError
from pyserver.observe import metrics_config, trace_settings
from pyserver.protocol import restricted
from pyserver.protocol.forwarding import forwarding
from pyserver.scheduler.rate_limiter import parse_resources
from pyserver.settings import Settings, flags

ALIASES = {"model_repository": "--model-store"}


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that are asked for; prints what is wrong and exits with 2 where they can't be taken.

    The command line counts more than the environment's PYSERVER_ variables, and these more than the file that --config
    names.
    """
    parser = make_parser()
    try:
        return checked(gathered(parser, arguments, environ))
    except ServerError as error:
        parser.error(error.message)


def gathered(parser: argparse.ArgumentParser, arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """What the three sources say, by field."""
    given = vars(parser.parse_args(arguments))
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    said = {**sources.from_environment(environ), **given, **lists}
    file = said.get("config")
    return {**sources.from_file(file), **said} if file else said


def checked(fields: Mapping[str, Any]) -> Settings:
    """The settings, if they make sense together. ServerError (INVALID_ARG) if not."""
    settings = Settings(**fields)
    if settings.strict_model_config:
        settings = dataclasses.replace(settings, disable_auto_complete_config=True)
    if not settings.model_repository:
        raise sources.wrong("no models to serve: give at least one --model-repository DIR")
    cache_config.parse(settings.cache_config, settings.response_cache_byte_size)
    parse_resources(settings.rate_limit_resource)
    trace_settings.from_flags(settings)
    metrics_config.parse(settings.metrics_config)
    restricted.parse_http(settings.http_restricted_api)
    restricted.parse_grpc(settings.grpc_restricted_protocol)
    forwarding(settings.http_header_forward_pattern)
    forwarding(settings.grpc_header_forward_pattern)
    return settings


class Parser(argparse.ArgumentParser):
    """Says on one line what is wrong, and what may have been meant."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        what, _, unknown = message.partition("unrecognized arguments: ")
        if not what and unknown.startswith("-"):
            known = sources.nearest(unknown.split()[0].partition("=")[0], self._option_string_actions)
            message += f"; did you mean {known}?" if known else ""
        self.exit(2, f"{self.prog}: error: {message}\nTry '{self.prog} --help'.\n")


class _Help(argparse.Action):
    def __call__(self, *_: Any) -> NoReturn:
        print(help_text(), end="")
        sys.exit(0)


def make_parser() -> Parser:
    """One option a flag, tritonserver's others among them; what is not given is not there."""
    parser = Parser("pyserver", usage="pyserver --model-repository DIR [options]", allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action=_Help, nargs=0, default=argparse.SUPPRESS)
    for name, default, about in flags():
        parser.add_argument(*_spellings(name), dest=name, **_options(default, about))
    for name, fate in foreign.FLAGS.items():
        if name not in parser._option_string_actions:
            parser.add_argument(name, action=foreign.Foreign, const=fate, **fate.shape())
    return parser


def _spellings(name: str) -> list[str]:
    spelled = ["--" + name.replace("_", "-")]
    return [*spelled, ALIASES[name]] if name in ALIASES else spelled


def _options(default: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"default": argparse.SUPPRESS}
    if isinstance(default, bool):
        # `--flag` alone is true, as for tritonserver's flags that take no value.
        return {**options, "type": _boolean, "nargs": "?", "const": True}
    if isinstance(default, tuple):
        return {**options, "action": "append"}
    if about["choices"]:
        return {**options, "choices": about["choices"]}
    return {**options, "type": type(default)}


def _boolean(text: str) -> bool:
    try:
        return sources.boolean(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
