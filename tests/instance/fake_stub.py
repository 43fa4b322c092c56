"""A stub without a model: answers each request with its own inputs, or does what the configuration or a request asks.

Arguments as pyserver.stub.boot: CHANNEL_FD REQUEST_FD RESPONSE_FD CALLS_FD TITLE. The configuration's `load` and
`initialize`, and a request's parameter `do`, name what goes wrong.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from pyserver.ipc import messages as m
from pyserver.ipc.arena import Arena, Mapping
from pyserver.ipc.channel import Channel
from pyserver.ipc.words import CONTROL_BYTES, EXECUTING, cancel_words, control_words


class FakeStub:
    def __init__(self, channel_fd, request_fd, response_fd):
        self.channel = Channel(socket.socket(fileno=channel_fd))
        self.requests = Mapping(request_fd)
        self.responses = Arena(response_fd, None, CONTROL_BYTES)
        self.control = control_words(self.responses.view)
        self.cancelled = cancel_words(self.requests.view)
        self.config = {}

    def say(self, record):
        self.channel.put(record)
        self.channel.flush()

    def run(self):
        self.say(m.pack_json(m.HELLO, {"version": m.VERSION, "python": "3", "numpy": None, "pid": os.getpid()}))
        while True:
            message = self.channel.receive()
            if not message:
                return
            for record in m.from_server(message):
                if self.act(*record):
                    return

    def act(self, kind, *rest):
        if kind == m.LOAD:
            fields = m.unpack_json(rest[0])
            self.config = json.loads(fields["config"])
            self.trouble(self.config.get("load"), m.LOADED)
            config = {"completed": True, **self.config} if fields["complete_config"] else None
            self.say(m.pack_json(m.LOADED, {"config": config}))
        elif kind == m.INITIALIZE:
            self.trouble(self.config.get("initialize"), m.INITIALIZED)
            self.say(m.pack_json(m.INITIALIZED, {}))
        elif kind == m.EXECUTE:
            self.execute(*rest)
        elif kind == m.FREE:
            for offset in rest[0]:
                self.responses.free(offset)
        elif kind == m.FINALIZE:
            if self.config.get("finalize") == "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(60)
            self.say(m.pack_json(m.FINALIZED, {"blocks": self.responses.blocks}))
            return True
        return False

    def trouble(self, what, kind):
        if what == "error":
            message = "Internal: ValueError: no\n\nAt:\n  model.py(7): initialize\n"
            self.say(m.pack_json(kind, {"error": message, "traceback": "Traceback: ValueError: no"}))
            time.sleep(60)
        elif what == "exit":
            sys.stderr.write("first line\nlast words\n")
            sys.exit(3)
        elif what == "hang":
            time.sleep(60)

    def execute(self, payload, requests):
        self.control[EXECUTING] = payload
        started = time.monotonic_ns()
        for key, slot, layout, windows, extras in requests:
            parameters = m.unpack_json(extras).get("parameters", {}) if extras else {}
            if "do" in parameters:
                getattr(self, f"do_{parameters['do']}")(payload, key, slot, parameters)
                continue
            self.channel.put(self.echo(key, layout, windows))
        if requests and parameters.get("do") != "double_executed":
            self.channel.put(m.pack_executed(payload, started, 1000, time.monotonic_ns() - started, 1000))
            self.channel.flush()

    def echo(self, key, layout, windows, flags=m.FINAL):
        layout = m.pack_layout(m.Layout(m.unpack_layout(layout).tensors))
        sizes = [(size + 63) & ~63 for size in windows[1::2]]
        if not sizes:
            return m.pack_response(key, m.OK, flags, layout, ())
        at = self.responses.allocate(sum(sizes))
        answered = []
        for offset, size, room in zip(windows[::2], windows[1::2], sizes, strict=True):
            self.responses.view[at : at + size] = self.requests.view[offset : offset + size]
            answered += [at, size]
            at += room
        return m.pack_response(key, m.OK, flags, layout, tuple(answered))

    def done(self, key):
        self.channel.put(m.pack_response(key, m.OK, m.FINAL, b"", ()))

    # What a request can ask for.

    def do_kill(self, payload, key, slot, parameters):
        sys.stderr.write("about to die\n")
        sys.stderr.flush()
        self.channel.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def do_exit(self, payload, key, slot, parameters):
        self.channel.flush()
        os._exit(5)

    def do_sleep(self, payload, key, slot, parameters):
        time.sleep(parameters["seconds"])
        self.done(key)

    def do_stop(self, payload, key, slot, parameters):
        os.kill(os.getpid(), signal.SIGSTOP)
        self.done(key)

    def do_wait_for_cancel(self, payload, key, slot, parameters):
        deadline = time.monotonic() + 10
        while not self.cancelled[slot] and time.monotonic() < deadline:
            time.sleep(0.001)
        text = json.dumps({"parameters": {"cancelled": self.cancelled[slot]}}).encode()
        self.channel.put(m.pack_response(key, m.OK, m.FINAL, b"", (), text))

    def do_fail(self, payload, key, slot, parameters):
        text = json.dumps({"message": "no such thing", "traceback": "line 1"}).encode()
        self.channel.put(m.pack_response(key, 3, m.FINAL, b"", (), text))

    def do_stream(self, payload, key, slot, parameters):
        for _ in range(parameters["count"]):
            self.channel.put(self.float_response(key, 0))
        self.done(key)

    def do_fail_in_stream(self, payload, key, slot, parameters):
        text = json.dumps({"message": "half way"}).encode()
        self.channel.put(m.pack_response(key, 1, 0, b"", (), text))
        self.channel.put(self.float_response(key, 0))
        self.channel.put(self.float_response(key, m.FINAL))

    def float_response(self, key, flags):
        at = self.responses.allocate(4)
        self.responses.view[at : at + 4] = struct.pack("<f", 1.5)
        return m.pack_response(key, m.OK, flags, m.pack_layout(m.Layout((("X", "FP32", (1,)),))), (at, 4))

    def do_print(self, payload, key, slot, parameters):
        text = parameters["text"] * parameters.get("times", 1)
        os.write(1, text.encode()) if len(text) < 60000 else sys.stdout.write(text)
        sys.stdout.flush()
        self.done(key)

    def do_log(self, payload, key, slot, parameters):
        text = parameters.get("message", "hello")
        for _ in range(parameters.get("times", 1)):
            self.channel.put(m.pack_json(m.LOG, {"level": 30, "message": text, "file": "model.py", "line": 8}))
        self.done(key)

    def do_child(self, payload, key, slot, parameters):
        child = subprocess.Popen(["sleep", "300"])
        text = json.dumps({"parameters": {"pid": child.pid}}).encode()
        self.channel.put(m.pack_response(key, m.OK, m.FINAL, b"", (), text))

    def do_fds(self, payload, key, slot, parameters):
        text = json.dumps({"parameters": {"fds": len(os.listdir("/proc/self/fd"))}}).encode()
        self.channel.put(m.pack_response(key, m.OK, m.FINAL, b"", (), text))

    def do_close(self, payload, key, slot, parameters):
        self.channel.sock.shutdown(socket.SHUT_RDWR)
        time.sleep(60)

    def do_double_answer(self, payload, key, slot, parameters):
        self.done(key)
        self.done(key)

    def do_double_executed(self, payload, key, slot, parameters):
        self.done(key)
        self.channel.put(m.pack_executed(payload, 0, 0, 0, 0))
        self.channel.put(m.pack_executed(payload, 0, 0, 0, 0))
        self.channel.flush()

    def do_raw(self, payload, key, slot, parameters):
        """Whatever bytes the test gives, with KEY where the key goes."""
        data = bytes.fromhex(parameters["hex"]).replace(b"KEY.....", struct.pack("<Q", key))
        self.channel.sock.send(data)
        time.sleep(60)


if __name__ == "__main__":
    FakeStub(*map(int, sys.argv[1:4])).run()
