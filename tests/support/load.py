"""More requests than a server can take, over connections that stay open; each answer with what it took."""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple

import numpy as np


class Heard(NamedTuple):
    """One answer: status, seconds, and the Retry-After header."""

    status: int
    seconds: float
    retry_after: str | None


def binary_request(path: str, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    """A whole HTTP request with one FP32 tensor in the binary extension."""
    data = array.tobytes()
    size = {"binary_data_size": len(data)}
    header = json.dumps({"inputs": [{"name": name, "datatype": "FP32", "shape": list(array.shape), "parameters": size}],
                         "parameters": {"binary_data_output": True}}).encode()  # fmt: skip
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {len(header)}\r\n"
    return f"{head}Content-Length: {len(header) + len(data)}\r\n\r\n".encode() + header + data


async def flood(address: str, request: bytes, clients: int, seconds: float, pause: float) -> list[Heard]:
    """`clients` ask one request after another for `seconds`; whoever is refused waits for `pause` seconds."""
    until = time.monotonic() + seconds
    found = await asyncio.gather(*(_client(address, request, until, pause) for _ in range(clients)))
    return [heard for each in found for heard in each]


async def _client(address: str, request: bytes, until: float, pause: float) -> list[Heard]:
    reader, writer = await asyncio.open_connection(*address.split(":"))
    heard = []
    try:
        while time.monotonic() < until:
            began = time.perf_counter()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            took = time.perf_counter() - began
            lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(lines["content-length"]))
            heard.append(Heard(int(head.split()[1]), took, lines.get("retry-after")))
            if heard[-1].status != 200:
                await asyncio.sleep(pause)
    finally:
        writer.close()
    return heard
