"""The process that prepares one environment: `python -m pyserver.environment.worker`, started by the server.

It reads one line of JSON, what to prepare, and writes lines of JSON: progress, and at last the result. Unpacking would
take the interpreter's lock from the server for seconds; and a process can be killed at any point.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pyserver.environment.cache import Cache
from pyserver.environment.children import die_with_parent
from pyserver.environment.prepare import prepare
from pyserver.environment.progress import Progress, Throttle
from pyserver.environment.source import Origin, Source
from pyserver.errors import ServerError, internal

NICENESS = 5
"""Requests come first."""


def order(cache: Path, source: Source) -> bytes:
    """The line that asks a worker to prepare `source`."""
    said = {"cache": str(cache), "origin": source.origin.value, "path": str(source.path), "python": source.python}
    return json.dumps({**said, "parent": os.getpid()}).encode() + b"\n"


def main() -> int:
    """Do what the line on stdin says."""
    die_with_parent()
    os.nice(NICENESS)
    said = json.loads(sys.stdin.readline())
    if os.getppid() != said["parent"]:  # it died before it could be told of
        return 1
    source = Source(Origin(said["origin"]), Path(said["path"]), said["python"])
    try:
        cache = Cache(Path(said["cache"]))
        key, facts = prepare(cache, source, Throttle(_progress, time.monotonic_ns))
    except ServerError as error:
        _say(error=error.message, code=int(error.code))
    except Exception as error:
        failure = internal(f"{source}: {type(error).__name__}: {error}")
        _say(error=failure.message, code=int(failure.code))
    else:
        _say(key=key, interpreter=facts.interpreter, version=facts.version, platform=facts.platform, numpy=facts.numpy)
    # Whoever waits has its answer: deleting takes as long as it takes.
    Cache(Path(said["cache"])).empty_trash()
    return 0


def _progress(progress: Progress) -> None:
    _say(step=progress.step, done=progress.done, total=progress.total)


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
