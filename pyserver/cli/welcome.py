"""What a server says of itself when it is up: its models, its addresses, and what to try next."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pyserver.frontend import tls
from pyserver.frontend.address import is_loopback, target
from pyserver.observe.formats import single

if TYPE_CHECKING:
    from pyserver.model.model import Model
    from pyserver.model.registry import Registry
    from pyserver.server.server import Server
    from pyserver.settings import Settings

MOST_ELEMENTS = 16
"""An example longer than that isn't one to type."""
ZEROS: dict[str, Any] = {
    "TYPE_BOOL": False, "TYPE_UINT8": 0, "TYPE_UINT16": 0, "TYPE_UINT32": 0, "TYPE_UINT64": 0, "TYPE_INT8": 0,
    "TYPE_INT16": 0, "TYPE_INT32": 0, "TYPE_INT64": 0, "TYPE_FP32": 0, "TYPE_FP64": 0, "TYPE_STRING": "",
}  # fmt: skip


class Row(NamedTuple):
    """One model version: `detail` says what it waits for, or why it is not there."""

    model: str
    version: str
    state: str
    instances: str
    environment: str
    seconds: str
    detail: str

    def __str__(self) -> str:
        """On one line."""
        parts = [f"model '{self.model}' version {self.version or '-'}: {self.state}"]
        parts += [f"{self.instances} instances" if self.instances != "1" else "1 instance"] if self.instances else []
        parts += [self.environment] if self.environment else []
        parts += [f"loaded in {self.seconds} s"] if self.seconds else []
        return ", ".join(parts) + (f" ({self.detail})" if self.detail else "")


def rows(registry: Registry) -> list[Row]:
    """Every model version that was asked for, by name."""
    found = []
    for entry in sorted(registry, key=lambda entry: entry.name):
        for number, version in sorted(entry.versions.items()):
            state, why = version.shown()
            facts = ("", "", "") if version.model is None else _facts(version.model)
            found.append(Row(single(entry.name), str(number or ""), state.value, *facts, single(why)))
    return found


def _facts(model: Model) -> tuple[str, str, str]:
    places = model.instances.places
    environment = _environment(places[0].instance.python, places[0].spec.interpreter) if places else "ensemble"
    return str(len(places) or ""), environment, f"{model.load_seconds:.2f}"


def _environment(version: str, interpreter: str) -> str:
    own = Path(interpreter) == Path(sys.executable)
    return f"Python {version}" + ("" if own else f" in {Path(interpreter).parent.parent.name}")


def addresses(server: Server, settings: Settings) -> list[str]:
    """Where it listens, and who can connect."""
    secure = {"HTTPService": tls.http_files(settings), "GRPCInferenceService": tls.grpc_files(settings)}
    lines = [
        f"{front.title} at {target(front.address, front.port)}" + (" (TLS)" if secure.get(front.title) else "")
        for front in server.fronts
    ]
    open_to = sorted({front.address for front in server.fronts if not is_loopback(front.address)})
    if open_to:
        return [*lines, f"everybody who can reach this machine can connect: bound to {', '.join(open_to)}"]
    return [*lines, "only this machine can connect; --http-address, --grpc-address and --metrics-address change that"]


def example(server: Server, settings: Settings) -> str:
    """A command that works: an inference with a model that serves, or at least a question about it; "" without REST."""
    front = next((front for front in server.fronts if front.title == "HTTPService"), None)
    models = [model for _, _, model in server.registry.loaded() if model.ready]
    if front is None:
        return ""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(front.address, front.address)
    files = tls.http_files(settings)
    curl, base = _curl(files), f"http{'s' if files else ''}://{target(address, front.port)}/v2"
    asked = next(((model, body) for model in models if (body := request(model)) is not None), None)
    if asked is None:
        return f"{curl} {shlex.quote(f'{base}/models/{models[0].name}')}" if models else f"{curl} {base}"
    model, body = asked
    return f"{curl} {shlex.quote(f'{base}/models/{model.name}/infer')} -d {shlex.quote(json.dumps(body))}"


def _curl(files: tls.TlsFiles | None) -> str:
    """The command. It asks this machine, so it takes the server's certificate whoever has signed it."""
    if files is None:
        return "curl"
    return "curl -k --cert CLIENT.pem --key CLIENT-KEY.pem" if files.mutual else "curl -k"


def request(model: Model) -> dict[str, Any] | None:
    """A small request of zeros; None for a model that takes more than that to be asked."""
    config = model.config
    if model.decoupled or config.HasField("sequence_batching") or not config.input:
        return None
    if any(each.HasField("reshape") for each in config.input):
        return None
    batch = [1] if config.max_batch_size > 0 else []
    inputs = [_zeros(each, batch) for each in config.input if not each.optional]
    return {"inputs": inputs} if inputs and all(each is not None for each in inputs) else None


def _zeros(entry: Any, batch: Iterable[int]) -> dict[str, Any] | None:
    from pyserver.proto.model_config import DataType

    shape = [*batch, *(max(1, size) for size in entry.dims)]
    name = DataType.Name(entry.data_type)
    if name not in ZEROS or prod(shape) > MOST_ELEMENTS:
        return None
    datatype = name.removeprefix("TYPE_").replace("STRING", "BYTES")
    return {"name": entry.name, "shape": shape, "datatype": datatype, "data": [ZEROS[name]] * prod(shape)}
