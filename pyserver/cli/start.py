"""`pyserver start FOLDER`: serve a folder of MLServer's, as its `settings.json` and the `MLSERVER_*` variables say."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserver.cli import loggers
from pyserver.cli.flags import parse
from pyserver.cli.log import configure
from pyserver.cli.sources import PREFIX, SEPARATOR
from pyserver.errors import ServerError
from pyserver.repository.mlserver.files import SETTINGS
from pyserver.repository.mlserver.variables import Variables
from pyserver.settings import Settings
from pyserver.settings.flag import MEBIBYTE

if TYPE_CHECKING:
    from pyserver.repository.mlserver.fields import ServerSettings

log = logging.getLogger(__name__)

REPOSITORY = "PYSERVER_MODEL_REPOSITORY"
TRACED = ("mode=opentelemetry", "level=TIMESTAMPS", "rate=1")
CACHED_ANSWER = MEBIBYTE
"""MLServer's cache counts answers, ours bytes: so many for each."""


def main(arguments: Sequence[str]) -> int:
    """Serve the folder until a signal; the exit status, which is not 0 where a model did not load."""
    parser = argparse.ArgumentParser(
        "pyserver start",
        description="Serve a folder of MLServer's, Triton's models beside them, on MLServer's ports. Every option of"
        " `pyserver serve` may be given as well, and counts for more than settings.json.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, help="folder with settings.json, and model-settings.json at any depth")
    given, rest = parser.parse_known_args(arguments)
    if not given.folder.is_dir():
        print(f"pyserver start: '{given.folder}' is not a folder", file=sys.stderr)
        return 1
    try:
        settings, notes = settings_of(given.folder, rest)
    except ServerError as error:
        print(f"pyserver start: {error.message}", file=sys.stderr)
        return 1
    from pyserver.server.process import serve

    configure(settings)
    try:
        loggers.apply(given.folder, (settings.mlserver or {}).get("logging_settings"))
    except ServerError as error:
        print(f"pyserver start: {error.message}", file=sys.stderr)
        return 1
    for note in notes:
        log.warning("%s", note)
    return serve(settings)


def settings_of(folder: Path, options: Sequence[str]) -> tuple[Settings, list[str]]:
    """How to serve `folder`, and what there is to say of its settings; `options`, and PYSERVER_ variables, count for
    more than these.

    ServerError (INVALID_ARG) names the file and the key that can't be taken.
    """
    from pyserver.repository.mlserver.reading import server_settings

    theirs, notes = server_settings(folder / SETTINGS, Variables.of_process())
    own = {name: text for name, text in os.environ.items() if name != REPOSITORY}
    settings = parse(["--model-repository", str(folder), *options], {**variables_of(theirs), **own})
    return dataclasses.replace(settings, mlserver=theirs.model_dump()), [*notes, *_unserved(theirs)]


def variables_of(theirs: ServerSettings) -> dict[str, str]:
    """The PYSERVER_ variables that do what the settings ask for."""
    wanted: dict[str, object] = {
        "model_control_mode": "explicit",
        "id": theirs.server_name,
        "http_address": theirs.host,
        "http_port": theirs.http_port,
        "grpc_address": theirs.host,
        "grpc_port": theirs.grpc_port,
        "grpc_engine": "grpcio",  # the native one hands over no metadata, which MLServer's models get as headers
        "http_compression": theirs.gzip_enabled,
        "metrics_address": theirs.host,
        "metrics_port": theirs.metrics_port,
        "allow_metrics": theirs.metrics_endpoint is not None,
        "log_verbose": int(theirs.debug),
        "access_log": theirs.debug,
        "log_format": "json" if theirs.use_structured_logging else "default",
    }
    if theirs.environments_dir:
        wanted["environment_cache"] = theirs.environments_dir
    if theirs.load_models_at_startup:
        wanted["load_model"] = "*"
    if theirs.cache_enabled:
        wanted["cache_config"] = f"local,size={max(1, theirs.cache_size) * CACHED_ANSWER}"
    if theirs.grpc_max_message_length is not None and theirs.grpc_max_message_length >= 0:
        wanted["grpc_max_message_size"] = theirs.grpc_max_message_length
    if theirs.cors_settings is not None:
        wanted["http_cors"] = json.dumps(theirs.cors_settings.model_dump(exclude_none=True))
    if theirs.tracing_server:
        wanted["trace_config"] = SEPARATOR.join([*TRACED, f"opentelemetry,url={_url(theirs.tracing_server)}"])
    return {PREFIX + name.upper(): _text(value) for name, value in wanted.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _url(endpoint: str) -> str:
    """Where spans go over HTTP: MLServer's setting names the collector's gRPC port, OTLP's other one is the next."""
    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    if url.endswith(":4317"):
        url = url[:-1] + "8"
    return url if url.count("/") > 2 else f"{url}/v1/traces"


def _unserved(theirs: ServerSettings) -> Iterator[str]:
    """What the settings ask for and this server does not have."""
    if theirs.kafka_enabled:
        yield f"{SETTINGS}: 'kafka_enabled': requests are not taken from Kafka; REST and gRPC are served"
