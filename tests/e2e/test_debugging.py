"""What a developer sees of a model that runs in a server: its words, its stacks, its name; and `debug` and `check`."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import ask, constant, infer_json, tensor
from tests.support.repositories import CONSTANT_CONFIG, copy_model, write_constant, write_model
from tools import proc

pytestmark = pytest.mark.ours

ASKED = {"inputs": [tensor("ASKED", "BOOL", [1], [True])]}
ANSWERING = """
import logging, os, subprocess, sys, threading, warnings
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
{body}
        value = pb_utils.Tensor("VALUE", np.array([1], np.int32))
        return [pb_utils.InferenceResponse([value]) for _ in requests]
"""


def body(*lines: str) -> str:
    return ANSWERING.format(body="\n".join(f"        {line}" for line in lines))


def test_every_word_of_a_model_carries_its_request(serve: Serve, tmp_path: Path) -> None:
    source = body(
        "print('printed')",
        "print('two', end=' '); print('parts'); sys.stderr.write('first\\nsecond\\n')",
        "logging.getLogger('mine').info('logged')",
        "warnings.warn('warned')",
        "pb_utils.Logger.log_warn('by the logger')",
        "thread = threading.Thread(target=print, args=('another thread',)); thread.start(); thread.join()",
        "os.write(1, b'past the interpreter\\n')",
    )
    write_model(tmp_path, "talking", "print('imported')\n" + source, CONSTANT_CONFIG)
    server = serve(tmp_path)
    assert infer_json(server, "talking", {**ASKED, "id": "id-7"}).status == 200
    assert infer_json(server, "talking", {**ASKED, "id": "forged\n\x1b[31m"}).status == 200
    said = "talking/1 talking_0"
    for line in ("printed", "two parts", "first", "second", "INFO:mine:logged"):
        server.wait_log(f"{said} [id-7]: {line}")
    assert "UserWarning: warned" in server.wait_log(f"{said} [id-7]: {tmp_path}/talking/1/model.py")
    assert re.search(r"\[id-7\]: \S*model\.py:\d+: by the logger", server.log)
    for line in ("imported", "another thread", "past the interpreter"):
        server.wait_log(f"{said}: {line}")
    server.wait_log(f"{said} [forged\\x0a\\x1b[31m]: printed")


def test_a_traceback_is_logged_once_with_its_request(serve: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "raising", body("raise KeyError('lost')"), CONSTANT_CONFIG)
    server = serve(tmp_path)
    answer = infer_json(server, "raising", {**ASKED, "id": "id-8"})
    assert answer.status == 500
    assert "KeyError: 'lost'" in answer.error
    server.wait_log("raising/1 raising_0 [id-8]: failed: Traceback")
    server.wait_log("KeyError: 'lost'")
    assert server.log.count("Traceback") == 1


def test_a_flood_of_prints_hurts_nobody(serve: Serve, tmp_path: Path) -> None:
    """100 MB in lines, and a line of 50 MB: the log stays short, others are served meanwhile, memory stays."""
    flood = body("for _ in range(1000): print('x' * 99_999)", "print('y' * 50_000_000)", "print('done')")
    write_model(tmp_path, "flood", flood, CONSTANT_CONFIG)
    write_constant(tmp_path, "other", 5)
    server = serve(tmp_path)
    before = resident(server.pid)
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(infer_json, server, "flood", ASKED)
        slowest = 0.0
        while not flooding.done():
            asked = time.monotonic()
            assert constant(server, "other") == 5
            slowest = max(slowest, time.monotonic() - asked)
        assert flooding.result().status == 200
    assert slowest < 1
    server.wait_log("done")
    assert sum(map(len, server.lines)) < 20 << 20
    assert resident(server.pid) - before < 32 << 20


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_logger_obeys_levels_that_change_while_it_runs(serve: Serve, tmp_path: Path) -> None:
    words = [f"pb_utils.Logger.log_{level}('said {level}')" for level in ("verbose", "info", "warn", "error")]
    write_model(tmp_path, "talking", body(*words), CONSTANT_CONFIG)
    server = serve(tmp_path)

    def said(*expected: str, **changes: object) -> None:
        if changes:
            assert ask(server, "POST", "/v2/logging", json.dumps(changes).encode()).status == 200
        before = len(server.lines)
        assert infer_json(server, "talking", ASKED).status == 200
        found: list[str] = []

        def heard() -> bool:
            found[:] = [line.rpartition("said ")[2] for line in server.lines[before:] if "said " in line]
            return len(found) >= len(expected)

        server.wait_until(heard, 5, f"to log {expected}")
        assert found == [*expected]

    said("info", "warn", "error")
    said("verbose", "warn", "error", log_verbose_level=1, log_info=False)
    said("error", log_verbose_level=0, log_warning=False)
    said("info", "warn", log_info=True, log_warning=True, log_error=False)


def test_sigusr1_shows_all_stacks(serve: Serve, tmp_path: Path) -> None:
    """The server's, that of a model that runs Python, and that of one stuck in C while it loads."""
    copy_model(tmp_path, "slow")
    stuck = body("pass") + (
        "\n    def initialize(self, args):\n        import ctypes\n        print('stuck', flush=True)\n"
        "        for _ in range(9): ctypes.PyDLL(None).sleep(20)\n"
    )
    write_model(tmp_path, "stuck", stuck, CONSTANT_CONFIG)
    server = serve(tmp_path, options=("--model-control-mode=explicit", "--load-model=slow"))
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(infer_json, server, "slow", {"inputs": [tensor("SECONDS", "FP32", [1], [3])]})
        loading = pool.submit(ask, server, "POST", "/v2/repository/models/stuck/load")
        server.wait_log("asleep for 3")
        server.wait_log("stuck/1 stuck_0: stuck")
        os.kill(server.pid, signal.SIGUSR1)
        server.wait_log(" in serve")
        assert "slow/1 slow_" in server.wait_log("slow/1/model.py")
        assert "stuck/1 stuck_0" in server.wait_log("stuck/1/model.py")
        assert asked.result(timeout=20).status == 200
        server.stop()
        assert loading.result(timeout=20).status == 503


def test_a_process_is_named_after_its_instance(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "named", 1)
    server = serve(tmp_path)
    (stub,) = proc.stubs(server.pid)
    assert proc.command_line(stub).endswith("pyserver: named/1 named_0")
    assert Path(f"/proc/{stub}/comm").read_text() == "named/1 named_0\n"


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self.master, slave = pty.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.master)

    def read_until(self, text: str) -> str:
        """What was printed up to `text`, which is taken off."""
        while text not in self.said:
            try:
                self.said += os.read(self.master, 4096).decode()
            except OSError:
                raise AssertionError(f"{text!r} is not in {self.said!r}") from None
        before, _, self.said = self.said.partition(text)
        return before

    def write(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait(self) -> int:
        """The exit status, and in `said` all the rest."""
        try:
            while data := os.read(self.master, 4096):
                self.said += data.decode()
        except OSError:  # how a terminal says that the last process has closed it
            pass
        return self.process.wait(timeout=30)


def debug(*arguments: str) -> Terminal:
    return Terminal(sys.executable, "-m", "pyserver", "debug", *arguments)


def test_breakpoint_gives_a_prompt(tmp_path: Path) -> None:
    write_model(tmp_path, "paused", body("asked = 6", "breakpoint()"), CONSTANT_CONFIG)
    with debug("paused", "--model-repository", str(tmp_path)) as terminal:
        terminal.read_until("(Pdb) ")
        terminal.write("p asked * 7\n")
        assert "42" in terminal.read_until("(Pdb) ")
        terminal.write("p requests[0].inputs()[0].as_numpy()\n")
        assert "False" in terminal.read_until("(Pdb) "), "a request of zeros"
        terminal.write("continue\n")
        assert terminal.wait() == 0
        assert '"VALUE"' in terminal.said


def test_debug_is_fed_a_request(tmp_path: Path) -> None:
    copy_model(tmp_path, "add_sub")
    request = {"inputs": [tensor(name, "FP32", [4], [1, 2, 3, 4]) for name in ("INPUT0", "INPUT1")]}
    (tmp_path / "request.json").write_text(json.dumps(request))
    file = str(tmp_path / "request.json")
    with debug("add_sub", "--model-repository", str(tmp_path), "--request", file, "--request", file) as terminal:
        assert terminal.wait() == 0
        assert terminal.said.count("[2.0,4.0,6.0,8.0]") == 2


def test_debug_says_what_fails(tmp_path: Path) -> None:
    write_model(tmp_path, "raising", body("raise KeyError('lost')"), CONSTANT_CONFIG)
    write_model(tmp_path, "broken", "import nothing_of_that_name\n", CONSTANT_CONFIG)
    for name, says in (("raising", "KeyError: 'lost'"), ("broken", "nothing_of_that_name"), ("nope", "no such model")):
        with debug(name, "--model-repository", str(tmp_path)) as terminal:
            assert terminal.wait() == 1
            assert says in terminal.said


def check(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pyserver", "check", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_check_prints_every_problem_with_its_place(tmp_path: Path) -> None:
    write_constant(tmp_path, "good")
    lines = [
        'backend: "python"',
        "max_batchsize: 4",
        "max_batch_size: -3",
        'input { name: "A" data_type: FP32 dims: [ 1 ] }',
        'output { name: "B" data_type: TYPE_FP32 }',
        'output { name: "C" data_type: TYPE_FP32 dims: [ 0 ] }',
    ]
    write_model(tmp_path, "bad", "class TritonPythonModel: pass", "\n".join(lines))
    write_model(tmp_path, "syntax", "a = 1\nb = = 2\n", CONSTANT_CONFIG)
    (tmp_path / "empty").mkdir()
    status, said = check(str(tmp_path))
    assert status == 1
    config = f"{tmp_path}/bad/config.pbtxt"
    assert f"{config}:2: 'ModelConfig' has no field 'max_batchsize', did you mean 'max_batch_size'?" in said
    assert f"{config}:3: 'max_batch_size' must be non-negative" in said
    assert f"{config}:4: 'DataType' has no value 'FP32', did you mean 'TYPE_FP32'?" in said
    assert f"{config}:5: model output 'B' must specify 'dims'\n    try: dims: [" in said
    assert f"{config}:6: model output 'C' dimension must be integer" in said
    assert f"{tmp_path}/syntax/1/model.py:2: SyntaxError" in said
    assert f"{tmp_path}/empty: " in said
    assert "/good" not in said


def test_check_finds_nothing_wrong_with_good_models(tmp_path: Path) -> None:
    for name in ("add_sub", "auto_complete", "batching", "versions"):
        copy_model(tmp_path, name)
    assert check(str(tmp_path)) == (0, "4 models, 0 problems\n")
    assert check(str(tmp_path / "nowhere"))[0] == 1


def test_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    from pyserver.cli.main import SUBCOMMANDS, main

    for command in SUBCOMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "usage: pyserver" in capsys.readouterr().out
