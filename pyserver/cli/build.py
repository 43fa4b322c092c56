"""`pyserver build FOLDER --tag TAG`: build an image that serves a folder, with docker."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyserver.cli.dockerfile import write


def main(arguments: Sequence[str]) -> int:
    """Build it; docker's own exit status, 1 if docker is not there."""
    parser = argparse.ArgumentParser("pyserver build", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="folder with settings.json and model-settings.json files")
    parser.add_argument("-t", "--tag", required=True, help="the image's name")
    parser.add_argument("--no-cache", action="store_true", help="build every layer anew")
    given = parser.parse_args(arguments)
    docker = shutil.which("docker")
    if docker is None:
        print(
            "pyserver build: there is no 'docker' on the PATH; `pyserver dockerfile` writes the Dockerfile for any"
            " other builder",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="pyserver-build-") as scratch:
        try:
            path = write(given.folder, Path(scratch), ignore=True)
        except OSError as error:
            print(f"pyserver build: '{given.folder}': {error.strerror}", file=sys.stderr)
            return 1
        command = [docker, "build", "--rm", *(["--no-cache"] if given.no_cache else [])]
        command += ["--file", str(path), "--tag", given.tag, str(given.folder)]
        status = subprocess.run(command, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=False).returncode
    if status != 0:
        print(f"pyserver build: docker ended with status {status}: {' '.join(command)}", file=sys.stderr)
    return status
