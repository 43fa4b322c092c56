"""Trains two models, serves them beside the examples, asks real questions over each protocol, prints what came of it.

`python -m examples.demo` does all that on free ports and ends; with --serve the server stays up on Triton's ports.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from tritonclient import grpc, http

from examples.digits.train import HeldBack, train
from tools.process import ServerProcess, ServerProcessError, pyserver_command

Array: TypeAlias = "np.ndarray[Any, Any]"
Predict: TypeAlias = Callable[[Array], Array]

MODELS = ("digits_python", "digits_onnx")
ROUTES = ("HTTP JSON", "HTTP binary", "gRPC")
LEAST_ACCURACY = 0.95
SERVED = Path("build/demo")
EXAMPLES = Path(__file__).parent / "models"


class Row(NamedTuple):
    """What asking one model over one route gave: accuracy in 0..1, latencies in seconds."""

    model: str
    route: str
    accuracy: float
    latencies: Array


@contextmanager
def client(route: str, server: ServerProcess, model: str) -> Iterator[Predict]:
    """A function from one image, FP32 [1, 64], to its probabilities, FP32 [1, 10], over `route`."""
    library: Any = grpc if route == "gRPC" else http
    how = {} if route == "gRPC" else {"binary_data": route == "HTTP binary"}
    outputs = [library.InferRequestedOutput("probabilities", **how)]
    with library.InferenceServerClient(server.grpc if route == "gRPC" else server.http) as connection:

        def predict(image: Array) -> Array:
            pixels = library.InferInput("pixels", list(image.shape), "FP32")
            pixels.set_data_from_numpy(image, **how)
            answer: Array = connection.infer(model, [pixels], outputs=outputs).as_numpy("probabilities")
            return answer

        yield predict


def ask(server: ServerProcess, model: str, route: str, held_back: HeldBack) -> Row:
    """Send every held-back image, one a request."""
    latencies, right = [], 0
    with client(route, server, model) as predict:
        predict(held_back.images[:1])  # the connection is made here
        for image, digit in zip(held_back.images, held_back.digits, strict=True):
            began = time.perf_counter()
            probabilities = predict(image.reshape(1, -1))
            latencies.append(time.perf_counter() - began)
            right += int(probabilities.argmax() == digit)
    return Row(model, route, right / len(held_back.digits), np.array(latencies))


def add_and_subtract(server: ServerProcess) -> str:
    """What `add_sub` makes of two vectors, asked over gRPC."""
    left, right = np.array([1, 2, 3, 4], np.float32), np.array([10, 20, 30, 40], np.float32)
    inputs = [grpc.InferInput(f"INPUT{number}", [4], "FP32") for number in (0, 1)]
    for tensor, values in zip(inputs, (left, right), strict=True):
        tensor.set_data_from_numpy(values)
    with grpc.InferenceServerClient(server.grpc) as connection:
        answer = connection.infer("add_sub", inputs)
    total, difference = answer.as_numpy("OUTPUT0"), answer.as_numpy("OUTPUT1")
    if not (np.array_equal(total, left + right) and np.array_equal(difference, left - right)):
        raise ServerProcessError(f"add_sub gave {total} and {difference} for {left} and {right}")
    return f"add_sub: {left} and {right} -> {total} and {difference}"


def upper_case(server: ServerProcess) -> str:
    """What `strings` makes of a few words, asked over HTTP with the binary extension."""
    words = np.array(["grüße", "from a", "BYTES tensor"], np.object_)
    text = http.InferInput("TEXT", [1, 3], "BYTES")
    text.set_data_from_numpy(words.reshape(1, 3))
    with http.InferenceServerClient(server.http) as connection:
        upper = [word.decode() for word in connection.infer("strings", [text]).as_numpy("UPPER")[0]]
    if upper != [word.upper() for word in words]:
        raise ServerProcessError(f"strings gave {upper} for {list(words)}")
    return f"strings: {list(words)} -> {upper}"


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'model':<15}{'route':<13}{'accuracy':>9}{'p50 ms':>9}{'p99 ms':>9}{'requests/s':>12}"]
    for model, route, accuracy, latencies in rows:
        p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
        rate = len(latencies) / latencies.sum()
        lines.append(f"{model:<15}{route:<13}{accuracy:>9.1%}{p50:>9.2f}{p99:>9.2f}{rate:>12,.0f}")
    return "\n".join(lines)


def demo() -> int:
    """Train, serve, ask, print; 0 if all predictions were as good as they have to be."""
    with tempfile.TemporaryDirectory(prefix="pyserver-demo-") as folder:
        print("training a classifier of handwritten digits ...", flush=True)
        held_back = train(Path(folder))
        with ServerProcess(pyserver_command(Path(folder), EXAMPLES), "pyserver") as server:
            print(
                f"serving {', '.join(MODELS)}, add_sub and strings at http://{server.http} and grpc://{server.grpc}",
                flush=True,
            )
            said = [add_and_subtract(server), upper_case(server)]
            rows = [ask(server, model, route, held_back) for model in MODELS for route in ROUTES]
    print("", *said, "", sep="\n")
    print(f"{len(held_back.digits)} held-back images, one a request, one client:\n\n{table(rows)}\n")
    poor = [row for row in rows if row.accuracy < LEAST_ACCURACY]
    for row in poor:
        print(
            f"{row.model} over {row.route}: accuracy {row.accuracy:.1%}, expected {LEAST_ACCURACY:.0%}", file=sys.stderr
        )
    print("the server ended cleanly")
    return 1 if poor else 0


def serve(options: list[str]) -> None:
    """Train, say how to ask, and become the server."""
    held_back = train(SERVED / "models")
    pixels = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": held_back.images[0].tolist()}
    request = SERVED / "request.json"
    request.write_text(json.dumps({"inputs": [pixels]}))
    port = options[options.index("--http-port") + 1] if "--http-port" in options else "8000"
    url = f"http://127.0.0.1:{port}/v2/models/{MODELS[0]}/infer"
    print(f"the image in {request} shows a {held_back.digits[0]}; ask, in another terminal:\n\n", flush=True, end="")
    print(f"    curl -s -d @{request} {url}\n\nCtrl-C ends the server.\n", flush=True)
    arguments = ["-m", "pyserver", "--model-repository", str(SERVED / "models"), "--http-address", "127.0.0.1"]
    os.execv(sys.executable, [sys.executable, *arguments, "--grpc-address", "127.0.0.1", *options])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="leave the server up; more options go to it")
    arguments, options = parser.parse_known_args()
    if arguments.serve:
        serve(options)
    if options:
        parser.error(f"unknown options without --serve: {' '.join(options)}")
    try:
        return demo()
    except ServerProcessError as failure:
        print(f"the demo failed: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
