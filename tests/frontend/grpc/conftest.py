"""Planes that answer without models, and servers over them, one for each engine."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
import tritonclient.grpc as client_library

from pyserver.errors import ErrorCode, ServerError, internal, not_found
from pyserver.extension.regions import Regions
from pyserver.frontend.grpc.server import GrpcServer
from pyserver.model.answer import relay
from pyserver.model.items import Item
from pyserver.observe.log import Log
from pyserver.observe.traces import Traces
from pyserver.payload import Reply, Ticket
from pyserver.settings import Settings
from pyserver.types import InferRequest, InferResponse, Tensor

ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Lease:
    """As a real one it belongs to the thread of the main loop, which made it."""

    def __init__(self) -> None:
        self.released = 0
        self.home = threading.get_ident()
        self.strays = 0

    def release(self) -> None:
        self.released += 1
        self.strays += threading.get_ident() != self.home


class FutureStream:
    """The stream of a model that gives one response, of the future of its answer."""

    def __init__(self, future: "asyncio.Future[InferResponse]", request: InferRequest) -> None:
        self.future = future
        self.request = request

    def listen(self, listener: Callable[[Item], None]) -> None:
        def done(future: "asyncio.Future[InferResponse]") -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                listener(Item(future.result(), True))
                return
            told = error if isinstance(error, ServerError) else internal(type(error).__name__)
            listener(Item(InferResponse(self.request.model_name, "1", self.request.id, error=told), True))

        self.future.add_done_callback(done)

    def cancel(self) -> None:
        self.future.cancel()


class Planes:
    """Both planes. Model `identity` answers at once, `held` when the test says so, `code-N` fails with ErrorCode N,
    `refused-N` does so before it is accepted.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.alive = True
        self.regions = Regions()
        self.log = Log()
        self.traces = Traces()
        self.requests: list[InferRequest] = []
        self.leases: list[Lease] = []
        self.held: list[tuple[asyncio.Future[InferResponse], InferRequest]] = []
        self.came = asyncio.Condition()
        self.loaded: list[tuple[str, Any]] = []
        self.load_gate: asyncio.Event | None = None

    def live(self) -> bool:
        return self.alive

    def ready(self) -> bool:
        return self.alive

    def model_ready(self, name: str, version: str) -> bool:
        return name == "identity" and version in ("", "1")

    async def probe(self, name: str, version: str) -> bool:
        return self.model_ready(name, version)

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "tests", "version": "1.2", "extensions": ["statistics", "parameters"]}

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        self.check(name, version)
        tensor = {"name": "X", "datatype": "FP32", "shape": [-1, 4]}
        return {"name": name, "versions": ["1", "3"], "platform": "python", "inputs": [tensor], "outputs": [tensor]}

    def model_config_json(self, name: str, version: str) -> str:
        self.check(name, version)
        return (
            '{"name":"identity","backend":"python","max_batch_size":8,'
            '"input":[{"name":"X","data_type":"TYPE_FP32","dims":[-1,4]}],'
            '"dynamic_batching":{"max_queue_delay_microseconds":5000000000},"a_field_of_tomorrow":1}'
        )

    def statistics(self, name: str, version: str) -> list[dict[str, Any]]:
        durations = {"success": {"count": 2**40, "ns": 7}, "fail": {"count": 0, "ns": 0}}
        return [
            {
                "name": name or "all", "version": version or "1", "last_inference": 1700000000000,
                "inference_count": 5, "execution_count": 3, "inference_stats": durations, "response_stats": {},
                "batch_stats": [{"batch_size": 2, "compute_input": {"count": 1, "ns": 9}}], "memory_usage": [],
            }
        ]  # fmt: skip

    def of_mlserver(self, name: str, version: str) -> bool:
        self.check(name, version)
        return False

    name = "fake"

    def check(self, name: str, version: str) -> None:
        if name == "unknown":
            raise not_found(f"Request for unknown model: '{name}' is not found")

    def infer(self, request: InferRequest) -> "asyncio.Future[InferResponse]":
        assert asyncio.get_running_loop() is self.loop
        self.check(request.model_name, request.model_version)
        kind, _, number = request.model_name.partition("-")
        if kind == "refused":
            raise ServerError(ErrorCode(int(number)), f"refused 'x'\nécrit {number}%")
        self.requests.append(request)
        future = self.loop.create_future()
        if kind == "held":
            self.held.append((future, request))
            self.loop.create_task(self._tell())
        elif kind == "code":
            self.loop.call_soon(future.set_exception, ServerError(ErrorCode(int(number)), f"failed with {number}"))
        elif kind == "bug":
            self.loop.call_soon(future.set_exception, ZeroDivisionError("secret"))
        else:
            self.loop.call_soon(self.answer, future, request)
        return future

    def submit(self, request: InferRequest, reply: Reply, *received: object) -> Ticket:
        return relay(self.infer(request), reply)

    def infer_stream(self, request: InferRequest) -> "FutureStream":
        return FutureStream(self.infer(request), request)

    def answer(self, future: "asyncio.Future[InferResponse]", request: InferRequest) -> None:
        """Give the inputs back as outputs."""
        if future.done():
            return
        self.leases.append(Lease())
        outputs = [Tensor(f"OUT_{t.name}", t.datatype, t.shape, t.data, None) for t in request.inputs]
        parameters = dict(request.parameters) or None
        future.set_result(InferResponse(request.model_name, "1", request.id, outputs, parameters, self.leases[-1]))

    async def _tell(self) -> None:
        async with self.came:
            self.came.notify_all()

    async def holds(self, count: int) -> None:
        """Wait until so many requests are held."""
        async with self.came:
            await asyncio.wait_for(self.came.wait_for(lambda: len(self.held) >= count), 10)

    async def cancelled(self, count: int) -> None:
        """Wait until so many of the held ones are cancelled."""
        async with asyncio.timeout(10):
            while sum(future.cancelled() for future, _ in self.held) < count:
                await asyncio.sleep(0.005)

    def index(self, ready_only: bool = False) -> list[dict[str, Any]]:
        every = [{"name": "identity", "version": "1", "state": "READY"}, {"name": "bad", "reason": "broken"}]
        return every[:1] if ready_only else every

    async def load(self, name: str, parameters: Any) -> None:
        if self.load_gate is not None:
            await self.load_gate.wait()
        if name == "bad":
            raise ServerError(ErrorCode.INTERNAL, "failed to load 'bad', failed to poll from model repository")
        self.loaded.append((name, parameters))

    async def unload(self, name: str, unload_dependents: bool = False) -> None:
        self.loaded.append((name, unload_dependents))


@pytest.fixture
async def planes() -> Planes:
    return Planes()


@pytest.fixture(params=["grpcio", "native"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def server(planes: Planes, engine: str) -> AsyncIterator[GrpcServer]:
    made = GrpcServer(planes, planes, Settings(grpc_port=0, grpc_engine=engine))  # type: ignore[arg-type]
    await made.start()
    yield made
    await made.drain(0)


@pytest.fixture
def channel(server: GrpcServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=ANY_SIZE) as made:
        yield made


@pytest.fixture
def client(server: GrpcServer) -> Iterator[client_library.InferenceServerClient]:
    made = client_library.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield made
    made.close()


Ask = Callable[..., Any]
"""Calls something blocking in a thread, while the loop serves it."""


@pytest.fixture
def ask() -> Ask:
    return asyncio.to_thread
