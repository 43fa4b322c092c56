"""What `pyserver infer` takes: options, and behind each of them MLServer's variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "MLSERVER_INFER_"
TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Options:
    """One run. Times are seconds; `headers` go with every request."""

    url: str
    model_name: str
    input_data_path: Path
    output_data_path: Path
    workers: int
    retries: int
    batch_size: int
    binary_data: bool
    verbose: int
    transport: str
    headers: tuple[tuple[str, str], ...]
    timeout: float
    batch_interval: float
    batch_jitter: float
    use_ssl: bool
    insecure: bool


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """The options; prints what is wrong and exits with 2 where they can't be taken."""
    parser = _make_parser(environment)
    given = vars(parser.parse_args(arguments))
    try:
        given["headers"] = tuple(map(_header, given.pop("request_headers") or _headers(environment)))
    except ValueError as error:
        parser.error(str(error))
    extra = given.pop("extra_verbose")
    given["verbose"] = 2 if extra else int(given["verbose"])
    for name in ("workers", "batch_size"):
        if given[name] < 1:
            parser.error(f"--{name.replace('_', '-')} is {given[name]}, expected at least 1")
    return Options(**given)


def _make_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "pyserver infer",
        description="Ask a server every request of a JSON lines file, many at once, and write the answers in the order"
        " of the requests. Every option has a variable, MLSERVER_INFER_ and its name.",
        allow_abbrev=False,
    )

    def option(*names: str, variable: str = "", kind: Any = str, default: Any = None, **how: Any) -> None:
        said = environment.get(PREFIX + (variable or names[-1].lstrip("-").replace("-", "_").upper()))
        how["required"] = default is None and said is None
        parser.add_argument(*names, type=kind, default=default if said is None else said, **how)

    def switch(*names: str, help: str) -> None:
        said = environment.get(PREFIX + names[-1].lstrip("-").replace("-", "_").upper(), "")
        parser.add_argument(*names, action="store_true", default=said.lower() in TRUE, help=help)

    option("-u", "--url", default="localhost:8080", metavar="HOST:PORT", help="the server; REST's or gRPC's port")
    option("-m", "--model-name", metavar="NAME", help="the model")
    option("-i", "--input-data-path", kind=Path, metavar="FILE", help="a V2 inference request a line; - for stdin")
    option(
        "-o", "--output-data-path", kind=Path, metavar="FILE", help="where the answers go, a line each; - for stdout"
    )
    option("-w", "--workers", kind=int, default=10, metavar="N", help="requests asked at once (10)")
    option("-r", "--retries", kind=int, default=3, metavar="N", help="how often to try one again that failed (3)")
    option("-s", "--batch-size", kind=int, default=1, metavar="N", help="lines that go as one request (1)")
    switch("-b", "--binary-data", help="send and ask for tensors as binary data")
    switch("-v", "--verbose", help="log what is done")
    switch("-vv", "--extra-verbose", help="log every request")
    option("-t", "--transport", default="rest", choices=("rest", "grpc"), help="rest or grpc (rest)")
    parser.add_argument(
        "-H", "--request-headers", action="append", metavar="'NAME: VALUE'", help="a header of every request"
    )
    option("--timeout", variable="CONNECTION_TIMEOUT", kind=float, default=60.0, metavar="SECONDS",
           help="how long one request may take (60)")  # fmt: skip
    option("--batch-interval", kind=float, default=0.0, metavar="SECONDS", help="pause of a worker between requests")
    option("--batch-jitter", kind=float, default=0.0, metavar="SECONDS", help="at most so much more of a pause")
    switch("--use-ssl", help="over TLS")
    switch("--insecure", help="without a look at the server's certificate")
    return parser


def _headers(environment: Mapping[str, str]) -> list[str]:
    return environment.get(f"{PREFIX}REQUEST_HEADERS", "").split()


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"'{text}' is no header, expected 'NAME: VALUE'")
    return name.strip(), value.strip()
