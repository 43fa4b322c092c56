"""The server's side of a stub, reduced to what a test needs: one process, its channel, its arenas."""

import json
import os
import select
import subprocess
import textwrap
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pyserver.ipc import arena, channel, messages, words
from pyserver.stub import bytes_codec
from pyserver.stub.dtypes import BY_DATATYPE, DATATYPE_OF

BOOT = Path(__file__).parents[2] / "pyserver/stub/boot.py"
PATIENCE = 30  # seconds, for anything that should come at once
DEFAULT_CONFIG: dict[str, Any] = {"name": "m", "max_batch_size": 0, "input": [], "output": []}


class Raw(NamedTuple):
    """A tensor as it travels."""

    datatype: str
    shape: tuple[int, ...]
    data: bytes


class Answer(NamedTuple):
    key: int
    code: int
    flags: int
    outputs: dict[str, Any]
    raw: list[tuple[str, Raw]]
    extras: dict[str, Any]
    block: int

    @property
    def message(self) -> str:
        return str(self.extras.get("message", ""))


def raw(value: Any) -> Raw:
    if isinstance(value, Raw):
        return value
    if value.dtype.kind in "OSU":
        return Raw("BYTES", value.shape, bytes_codec.pack(value))
    return Raw(DATATYPE_OF[value.dtype], value.shape, value.tobytes())


def apart(record: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """An ANSWERED, or ROWS, as the records that it stands for; any other as it is."""
    if record[0] == messages.ROWS:
        _, key, count, layout, offset, size = record
        return [
            (messages.RESPONSE, key + row, messages.OK, messages.FINAL, layout, (offset + row * size, size), b"")
            for row in range(count)
        ]
    if record[0] != messages.ANSWERED:
        return [record]
    _, payload, key, layout, windows, *times = record
    said = (messages.RESPONSE, key, messages.OK, messages.FINAL, layout, windows, b"")
    return [said, (messages.EXECUTED, payload, *times)]


def cooked(tensor: Raw) -> Any:
    if tensor.datatype == "BYTES":
        return bytes_codec.unpack(tensor.data, tensor.shape)
    if tensor.datatype == "BF16":
        return tensor
    return np.frombuffer(tensor.data, BY_DATATYPE[tensor.datatype]).reshape(tensor.shape)


class Driver:
    def __init__(self, folder: Path, interpreter: str, environment: dict[str, str]) -> None:
        self.folder = folder
        (folder / "1").mkdir(parents=True)
        server, stub = channel.pair()
        self.channel = channel.Channel(server)
        self.requests = arena.Arena(arena.create("requests"), reserved=words.TABLES_BYTES)
        self.responses = arena.create("responses")
        self.control: memoryview | None = None
        self.cancelled = words.cancel_words(self.requests.view)
        self.taken = words.taken_words(self.requests.view)
        self.memory: arena.Mapping | None = None
        self.waiting: list[tuple[Any, ...]] = []
        self.logs: list[dict[str, Any]] = []
        self.kinds: list[int] = []  # of all records that came
        self.rows: dict[int, int] = {}  # by the offset of an answer in a block of several: what to give back for it
        self.payloads = 0
        self.keys = 0
        asked, asking = channel.pair()
        self.calls = channel.Channel(asked)
        fds = (stub.fileno(), self.requests.fd, self.responses, asking.fileno())
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.process = subprocess.Popen(
            [interpreter, str(BOOT), *map(str, fds), "stub of a test"],
            pass_fds=fds,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )
        stub.close()
        asking.close()

    # --- talking

    def send(self, *records: bytes) -> None:
        for record in records:
            self.channel.put(record)
        while not self.channel.flush():
            select.select([], [self.channel], [], PATIENCE)

    def receive(self) -> list[tuple[Any, ...]]:
        """The records of one message; EOFError once the stub is gone."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ready, _, _ = select.select([self.channel], [], [], deadline - time.monotonic())
            assert ready, "the stub says nothing"
            try:
                message = self.channel.receive()
            except BlockingIOError:  # a part of a long record
                continue
            if not message:
                raise EOFError(self.errors())
            records = messages.from_stub(message)
            self.kinds += [record[0] for record in records]
            for _, _, count, _, offset, size in [record for record in records if record[0] == messages.ROWS]:
                # Their block is given back with the last one.
                self.rows |= {offset + row * size: offset if row == count - 1 else 0 for row in range(count)}
            return [part for record in records for part in apart(record)]

    def next(self, *kinds: int) -> tuple[Any, ...]:
        """The next record of one of these kinds; logs on the way are kept, anything else is a failure."""
        while True:
            if not self.waiting:
                self.waiting = self.receive()
            record = self.waiting.pop(0)
            if record[0] in kinds:
                return record
            assert record[0] == messages.LOG, record
            self.logs.append(messages.unpack_json(record[1]))

    def cold(self, kind: int) -> dict[str, Any]:
        return messages.unpack_json(self.next(kind)[1])

    # --- a model's life

    def load(self, source: str, config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """HELLO, then LOAD of this model.py; what LOADED says."""
        (self.folder / "1" / "model.py").write_text(textwrap.dedent(source))
        self.hello = self.cold(messages.HELLO)
        self.config = {**DEFAULT_CONFIG, **(config or {})}
        said = {
            "instance_name": "m_0_0",
            "kind": "CPU",
            "device_id": "0",
            "model_name": "m",
            "version": "1",
            "model_directory": str(self.folder),
            "version_directory": str(self.folder / "1"),
            "model_file": str(self.folder / "1" / "model.py"),
            "backend_directory": "",
            "config": json.dumps(self.config),
            "complete_config": False,
            "response_bytes": 1 << 30,
        }
        self.send(messages.pack_json(messages.LOAD, {**said, **fields}))
        return self.cold(messages.LOADED)

    def initialize(self, **args: str) -> dict[str, Any]:
        said = {"model_config": json.dumps(self.config), "model_instance_name": "m_0_0", "model_name": "m"}
        self.send(messages.pack_json(messages.INITIALIZE, {**said, **args}))
        return self.cold(messages.INITIALIZED)

    def ready(self, source: str, config: dict[str, Any] | None = None, **fields: Any) -> "Driver":
        loaded = self.load(source, config, **fields)
        assert "error" not in loaded, loaded
        initialized = self.initialize()
        assert "error" not in initialized, initialized
        return self

    def finalize(self) -> dict[str, Any]:
        self.send(messages.record(messages.FINALIZE, b""))
        said = self.cold(messages.FINALIZED)
        assert self.process.wait(PATIENCE) == 0
        return said

    # --- payloads

    def request(
        self,
        inputs: dict[str, Any],
        outputs: tuple[str, ...] = (),
        slot: int = 0,
        extras: dict[str, Any] | None = None,
    ) -> messages.Request:
        """A request, its inputs lying in the request arena."""
        specs, windows = [], []
        for name, value in inputs.items():
            datatype, shape, data = raw(value)
            offset = self.requests.allocate(len(data))
            self.requests.view[offset : offset + len(data)] = data
            specs.append((name, datatype, shape))
            windows += [offset, len(data)]
        self.keys += 1
        layout = messages.pack_layout(messages.Layout(tuple(specs), outputs))
        return self.keys, slot, layout, tuple(windows), json.dumps(extras).encode() if extras else b""

    def payload(self, requests: list[messages.Request]) -> bytes:
        self.payloads += 1
        return messages.pack_execute(self.payloads, requests)

    def execute(self, *requests: messages.Request) -> list[Answer]:
        """One payload; its answers, in the order of the requests."""
        self.send(self.payload(list(requests)))
        answers = [self.answer() for _ in requests]
        executed = self.next(messages.EXECUTED)
        assert executed[1] == self.payloads
        assert [answer.key for answer in answers] == [request[0] for request in requests]
        return answers

    def infer(self, inputs: dict[str, Any], *outputs: str, **more: Any) -> Answer:
        """A payload of one request; its outputs are copied and given back."""
        (answer,) = self.execute(self.request(inputs, outputs, **more))
        return answer

    def answer(self) -> Answer:
        """The next RESPONSE; its outputs are copied and given back."""
        answer = self.held_answer()
        if answer.block:
            self.send(messages.pack_free([answer.block]))
        return answer

    def held_answer(self) -> Answer:
        """The next RESPONSE; its outputs are copied, but not given back."""
        if self.memory is None:
            self.memory = arena.Mapping(self.responses, writable=False)
            self.control = words.control_words(self.memory.view)
        _, key, code, flags, layout, windows, extras = self.next(messages.RESPONSE)
        tensors = []
        for index, (name, datatype, shape) in enumerate(messages.unpack_layout(layout).tensors):
            offset, size = windows[2 * index : 2 * index + 2]
            assert offset % 64 == 0 or offset in self.rows
            assert offset >= words.CONTROL_BYTES
            tensors.append((name, Raw(datatype, shape, bytes(self.memory.view[offset : offset + size]))))
        said = messages.unpack_json(extras) if extras else {}
        outputs = {name: cooked(tensor) for name, tensor in tensors}
        start = windows[0] if windows else 0
        return Answer(key, code, flags, outputs, tensors, said, self.rows.pop(start, start))

    # --- the end

    def errors(self) -> str:
        """What the process wrote to stderr; it has ended, or is ending."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def close(self) -> None:
        self.channel.close()
        self.calls.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        os.close(self.requests.fd)
        os.close(self.responses)
