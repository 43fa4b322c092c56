"""`pyserver start FOLDER`: serve a folder of MLServer's, as its `settings.json` and the `MLSERVER_*` variables say."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserver.cli.flags import parse
from pyserver.cli.log import configure
from pyserver.errors import ServerError
from pyserver.repository.mlserver.files import SETTINGS
from pyserver.repository.mlserver.variables import Variables
from pyserver.settings import MEBIBYTE, Settings

if TYPE_CHECKING:
    from pyserver.repository.mlserver.fields import ServerSettings

log = logging.getLogger(__name__)

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
    from pyserver.server import serve

    configure(settings)
    for note in notes:
        log.warning("%s", note)
    return serve(settings)


def settings_of(folder: Path, options: Sequence[str]) -> tuple[Settings, list[str]]:
    """How to serve `folder`, and what there is to say of its settings; `options` count for more than these.

    ServerError (INVALID_ARG) names the file and the key that can't be taken.
    """
    from pyserver.repository.mlserver.reading import server_settings

    theirs, notes = server_settings(folder / SETTINGS, Variables.of_process())
    settings = parse([*flags_of(folder, theirs), *options])
    return dataclasses.replace(settings, mlserver=theirs.model_dump()), [*notes, *_unserved(theirs)]


def flags_of(folder: Path, theirs: ServerSettings) -> list[str]:
    """The command line of `pyserver serve` that does what the settings ask for."""
    flags = {
        "model-repository": str(folder),
        "model-control-mode": "explicit",
        "id": theirs.server_name,
        "http-address": theirs.host,
        "http-port": theirs.http_port,
        "grpc-address": theirs.host,
        "grpc-port": theirs.grpc_port,
        "metrics-address": theirs.host,
        "metrics-port": theirs.metrics_port,
        "allow-metrics": str(theirs.metrics_endpoint is not None).lower(),
        "log-verbose": int(theirs.debug),
        "environment-cache": theirs.environments_dir,
    }
    if theirs.load_models_at_startup:
        flags["load-model"] = "*"
    if theirs.cache_enabled:
        flags["cache-config"] = f"local,size={max(1, theirs.cache_size) * CACHED_ANSWER}"
    return [f"--{name}={value}" for name, value in flags.items() if value != ""]


def _unserved(theirs: ServerSettings) -> Iterator[str]:
    """What the settings ask for and this server does not have."""
    if theirs.kafka_enabled:
        yield f"{SETTINGS}: 'kafka_enabled': requests are not taken from Kafka; REST and gRPC are served"
