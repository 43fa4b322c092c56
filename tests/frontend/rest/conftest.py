"""A real REST server on a free port, over planes made of dictionaries and futures, and a client of raw bytes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tornado.httpserver import HTTPServer

from pyserver.errors import ServerError, invalid, not_found
from pyserver.frontend.address import listen
from pyserver.frontend.rest.app import RestApplication
from pyserver.frontend.rest.server import RestServer, limits_of
from pyserver.model.answer import relay
from pyserver.observe.log import Log
from pyserver.observe.traces import Traces
from pyserver.payload import Reply, Ticket
from pyserver.settings import Settings
from pyserver.types import InferRequest, InferResponse, Tensor


class FakeDataPlane:
    """Knows model "m" in version 1, which echoes its inputs at once; model "slow" answers when its future is set."""

    def __init__(self) -> None:
        self.alive = True
        self.log = Log()
        self.traces = Traces()
        self.is_ready = True
        self.requests: list[InferRequest] = []
        self.futures: list[asyncio.Future[InferResponse]] = []
        self.released = 0
        self.error: BaseException | None = None
        self.arrived = asyncio.Event()

    def live(self) -> bool:
        return self.alive

    def ready(self) -> bool:
        return self.is_ready

    def why_unready(self, name: str, version: str) -> str:
        return "" if name == "m" and version in ("", "1") else "it died"

    async def probe(self, name: str, version: str) -> bool:
        return not self.why_unready(name, version)

    def of_mlserver(self, name: str, version: str) -> bool:
        self.check(name, version)
        return False

    def check(self, name: str, version: str) -> None:
        if name not in ("m", "slow"):
            raise not_found(f"Request for unknown model: '{name}' is not found")
        if version not in ("", "1"):
            raise not_found(f"Request for unknown model: '{name}' version {version} is not found")

    def models_of_mlserver(self) -> list[Any]:
        return []

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "triton", "version": "0", "extensions": []}

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        self.check(name, version)
        return {"name": name, "versions": ["1"], "asked": version}

    def model_config_json(self, name: str, version: str) -> str:
        self.check(name, version)
        return '{"name":"ä"}'

    def statistics(self, name: str, version: str) -> list[dict[str, Any]]:
        if name not in ("", "m"):
            raise invalid(f"requested model '{name}' is not available")
        return [{"name": name, "version": version}]

    def infer(self, request: InferRequest, *received: object) -> asyncio.Future[InferResponse]:
        if self.error is not None:
            raise self.error
        self.requests.append(request)
        future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if request.model_name == "m":
            future.set_result(self.echo(request))
        self.arrived.set()
        return future

    def submit(self, request: InferRequest, reply: Reply, *received: object) -> Ticket:
        return relay(self.infer(request), reply)

    def reserve(self, name: str, version: str, nbytes: int, header: int) -> None:
        """No memory of the model's own: bodies are received into ordinary memory."""

    def echo(self, request: InferRequest) -> InferResponse:
        if request.raw_input:
            request.inputs[0].name, request.inputs[0].datatype = "x", "UINT8"
            request.inputs[0].shape = (len(request.inputs[0].data),)
        outputs = [Tensor(t.name, t.datatype, t.shape, memoryview(t.data)) for t in request.inputs]
        return InferResponse(request.model_name, "1", request.id, outputs, lease=self)

    def release(self) -> None:
        self.released += 1


@dataclass
class FakeControlPlane:
    """Notes what it is told."""

    said: list[tuple[Any, ...]] = field(default_factory=list)
    error: ServerError | None = None

    def index(self, ready_only: bool) -> list[dict[str, str]]:
        self.said.append(("index", ready_only))
        return [{"name": "m", "version": "1", "state": "READY"}]

    async def load(self, name: str, parameters: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.said.append(("load", name, parameters))

    async def unload(self, name: str, unload_dependents: bool) -> None:
        self.said.append(("unload", name, unload_dependents))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert list(self.json) == ["error"]
        assert self.headers["content-type"] == "application/json"
        return str(self.json["error"])


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def begin(self, method: str, path: str, headers: dict[str, Any] | None = None) -> None:
        """Send the head of a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def post(self, path: str, body: bytes, headers: dict[str, Any] | None = None) -> None:
        """Send a whole request."""
        self.begin("POST", path, {"Content-Length": len(body), **(headers or {})})
        self.send(body)

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, Any] | None = None
    ) -> Answer:
        length = {} if body is None else {"Content-Length": len(body)}
        self.begin(method, path, {**length, **(headers or {})})
        self.send(body or b"")
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        size = 0 if method == "HEAD" else int(headers["content-length"])
        return Answer(int(head[0].split()[1]), headers, await self.reader.readexactly(size))

    async def ended(self) -> bool:
        """Wait for the server to end the connection; whether it did without a further byte."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True

    def abort(self) -> None:
        self.writer.transport.abort()


class TornadoServer:
    """The application behind Tornado's own server: the lane must not be the only one that it works with."""

    def __init__(self, data_plane: Any, control_plane: Any, settings: Settings) -> None:
        application = RestApplication(data_plane, control_plane, limits_of(settings))
        # The application itself refuses what is too large.
        self._server = HTTPServer(application, max_body_size=sys.maxsize)

    @property
    def connections(self) -> int:
        return len(self._server._connections)

    async def start(self) -> None:
        (listening,) = listen("127.0.0.1", 0)
        self.port = listening.getsockname()[1]
        self._server.add_socket(listening)

    def stop_accepting(self) -> None:
        self._server.stop()

    async def drain(self, timeout: float) -> None:
        await self._server.close_all_connections()


class Server(RestServer):
    @property
    def connections(self) -> int:
        return self._lane.connections


class World:
    """The server and its clients."""

    def __init__(self, kind: type[Server | TornadoServer]) -> None:
        self.kind = kind
        self.data_plane = FakeDataPlane()
        self.control_plane = FakeControlPlane()
        self.clients: list[Client] = []

    async def start(self, settings: Settings) -> None:
        planes: Any = (self.data_plane, self.control_plane)
        self.server = self.kind(*planes, settings)
        await self.server.start()

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.clients.append(client)
        return client

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: Any) -> Answer:
        client = await self.connect()
        return await client.ask(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    async def stop(self) -> None:
        for client in self.clients:
            client.writer.close()
        self.server.stop_accepting()
        await self.server.drain(0.0)


Start = Callable[..., Any]


@pytest.fixture(params=[Server, TornadoServer], ids=["lane", "tornado"])
def kind(request: pytest.FixtureRequest) -> Any:
    """Which server it is. A module that asks one alone overrides this."""
    return request.param


@pytest.fixture
async def start(kind: type[Server | TornadoServer]) -> AsyncIterator[Start]:
    """Start a world with these settings."""
    worlds = []

    async def started(**fields: Any) -> World:
        world = World(kind)
        await world.start(Settings(http_port=0, **fields))
        worlds.append(world)
        return world

    yield started
    for world in worlds:
        await world.stop()


@pytest.fixture
async def world(start: Start) -> Any:
    """A world with the default settings."""
    return await start()
