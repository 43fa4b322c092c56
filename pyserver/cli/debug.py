"""`pyserver debug MODEL`: one instance of one model, with the terminal, so that `breakpoint()` gives a prompt."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyserver.cli.flags import parse
from pyserver.cli.log import configure
from pyserver.controlplane.planner import Planner
from pyserver.errors import ServerError, invalid, unsupported
from pyserver.model.loader import Loader
from pyserver.model.model import Model
from pyserver.protocol import mlserver_request, mlserver_response, rest_infer
from pyserver.protocol.openapi import example
from pyserver.repository.backends import ENSEMBLE
from pyserver.repository.metadata import mlserver_metadata
from pyserver.repository.repository import ModelRepository
from pyserver.settings import Settings
from pyserver.types import Buffer, InferRequest, OpenRequest, Tensor

FOR_EVER = 1e9


def main(arguments: Sequence[str]) -> int:
    """Load the model, let it answer the requests, and print the answers; 0 if it answered them all."""
    parser = argparse.ArgumentParser(
        "pyserver debug",
        description="Run one instance of a model in the foreground: its prints, its breakpoint() and Ctrl-C are yours."
        " Whatever else serving takes (--model-repository, --backend-directory ...) may be given as well.",
        allow_abbrev=False,
    )
    parser.add_argument("model", help="the model's name")
    parser.add_argument("--model-version", type=int, default=0, metavar="N", help="default: the greatest served")
    parser.add_argument(
        "--request", action="append", default=[], type=Path, metavar="FILE",
        help="a request as JSON, as REST takes it; may be given several times; without any, one of zeros",
    )  # fmt: skip
    given, rest = parser.parse_known_args(arguments)
    settings = parse(rest)
    configure(dataclasses.replace(settings, log_info=False))
    return asyncio.run(_debug(settings, given.model, given.model_version, given.request))


async def _debug(settings: Settings, name: str, version: int, files: Sequence[Path]) -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)  # the model's, in the same group
    try:
        model = await _load(settings, name, version)
    except ServerError as error:
        print(getattr(error, "traceback", "") or error.message, file=sys.stderr)
        return 1
    failures = 0
    try:
        for file in files or (None,):
            failures += not await _ask(model, file)
    finally:
        await model.stop(FOR_EVER)
    return 1 if failures else 0


async def _load(settings: Settings, name: str, version: int) -> Model:
    repository = ModelRepository(settings.repositories)
    loader = Loader(settings, time.monotonic_ns, foreground=True)
    plan = await Planner(repository, loader).plan(name, None, None)
    if plan.config.platform == ENSEMBLE:
        raise unsupported(f"model '{name}' is an ensemble, which has no code of its own: debug the models of its steps")
    wanted = version or max(plan.versions)
    if wanted not in plan.versions:
        raise invalid(f"model '{name}' has no version {wanted} to serve, expected one of {list(plan.versions)}")
    (model,) = await loader.start(dataclasses.replace(plan, versions=(wanted,)))
    return model


async def _ask(model: Model, file: Path | None) -> bool:
    """Send one request, print the answer; whether there was one."""
    try:
        request = _open_request(model, file) if model.of_mlserver else _request(model, file)
        response = await model.infer(request)
    except (ServerError, OSError) as error:
        print(f"{file or 'a request of zeros'}: {error}", file=sys.stderr)
        return False
    try:
        encoded = mlserver_response.encode if isinstance(request, OpenRequest) else rest_infer.encode
        buffers: Sequence[Buffer] = encoded(response, request)[1]  # type: ignore[arg-type,unused-ignore]
        print(b"".join(buffers).decode(), flush=True)
    finally:
        response.release()
    return True


def _request(model: Model, file: Path | None) -> InferRequest:
    if file is None:
        return zeros(model)
    return rest_infer.decode(file.read_bytes(), None, model.name, "", None, rest_infer.MAX_JSON_SIZE)


def _open_request(model: Model, file: Path | None) -> OpenRequest:
    """A request to an MLServer model: its own, or the example of its documents."""
    if file is None:
        metadata = mlserver_metadata(model.name, model.instances.metadata)
        body = json.dumps(example.request(metadata, {}) or {"inputs": []}).encode()
    else:
        body = file.read_bytes()
    return mlserver_request.decode(body, None, model.name, "", None, rest_infer.MAX_JSON_SIZE, b"", "")


def zeros(model: Model) -> InferRequest:
    """A request of one row, every input full of zeros (or empty strings), and 1 wherever a size may vary."""
    batch = (1,) if model.config.max_batch_size > 0 else ()
    return InferRequest(model.name, inputs=[_zeros(entry, batch) for entry in model.config.input if not entry.optional])


def _zeros(entry: Any, batch: tuple[int, ...]) -> Tensor:
    from pyserver.core.tensor import itemsize
    from pyserver.proto.model_config import DataType

    shape = (*batch, *(max(1, size) for size in entry.dims))
    datatype = DataType.Name(entry.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
    count = 1
    for size in shape:
        count *= size
    return Tensor(entry.name, datatype, shape, bytes(count * (itemsize(datatype) or 4)))
