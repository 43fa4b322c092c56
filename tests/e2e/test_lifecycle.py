"""Loading, reloading and unloading real models in real servers, while others ask them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import ask, constant, index, infer_json, tensor
from tests.support.repositories import CONSTANT, CONSTANT_CONFIG, copy_model, write_constant, write_model
from tools import proc
from tools.process import ServerProcess

pytestmark = pytest.mark.ours

EXPLICIT = ("--model-control-mode", "explicit")
ALL = (*EXPLICIT, "--load-model", "*")
POLL = ("--model-control-mode", "poll", "--repository-poll-secs", "0.1")
ASKED = {"inputs": [tensor("ASKED", "BOOL", [1], [True])]}

STUB = """
import os
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
{initialize}

    def execute(self, requests):
        value = pb_utils.Tensor("VALUE", np.array([os.getpid()], np.int32))
        return [pb_utils.InferenceResponse([value]) for _ in requests]
"""


def load(server: ServerProcess, model: str, **parameters: str) -> tuple[int, str]:
    body = json.dumps({"parameters": parameters}).encode() if parameters else b""
    answer = ask(server, "POST", f"/v2/repository/models/{model}/load", body)
    return answer.status, answer.error if answer.body else ""


def unload(server: ServerProcess, model: str) -> None:
    assert ask(server, "POST", f"/v2/repository/models/{model}/unload").status == 200


def state(server: ServerProcess, model: str) -> tuple[str, str]:
    entry = next((entry for (name, _), entry in index(server).items() if name == model), {})
    return entry.get("state", ""), entry.get("reason", "")


def files(**contents: str) -> dict[str, str]:
    """The `file:` parameters of a load: `_` stands for a slash, `model` for model.py."""
    return {
        "file:" + path.replace("_", "/").replace("model", "model.py"): base64.b64encode(text.encode()).decode()
        for path, text in contents.items()
    }


def config(**more: object) -> str:
    return json.dumps(
        {
            "backend": "python",
            "input": [{"name": "ASKED", "data_type": "TYPE_BOOL", "dims": [1]}],
            "output": [{"name": "VALUE", "data_type": "TYPE_INT32", "dims": [1]}],
            **more,
        }
    )


@contextmanager
def under_load(ask_once: Callable[[], object], askers: int = 4) -> Iterator[list[object]]:
    """Ask over and over from several threads; whatever is raised in one of them is raised at the end."""
    done = threading.Event()
    answers: list[object] = []

    def keep_asking() -> None:
        while not done.is_set():
            answers.append(ask_once())

    with ThreadPoolExecutor(askers) as pool:
        asking = [pool.submit(keep_asking) for _ in range(askers)]
        try:
            yield answers
        finally:
            done.set()
        for each in asking:
            each.result(timeout=30)


def test_load_and_unload_beside_it_disturb_nobody(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "steady", 7)
    write_constant(tmp_path, "coming", 1)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "steady"))
    with under_load(lambda: constant(server, "steady")) as answers:
        for _ in range(3):
            assert load(server, "coming") == (200, "")
            unload(server, "coming")
    assert set(answers) == {7}


def test_unloading_answers_all_that_was_accepted(serve: Serve, tmp_path: Path) -> None:
    copy_model(tmp_path, "slow")
    server = serve(tmp_path, options=ALL)
    asked = {"inputs": [tensor("SECONDS", "FP32", [1], [0.3])]}
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(infer_json, server, "slow", asked) for _ in range(4)]
        server.wait_log("asleep for 0.3")
        server.wait_until(lambda: server.metric("nv_inference_pending_request_count") == 3, 10, "to queue")
        unload(server, "slow")
        assert state(server, "slow")[0] == "UNLOADING"
        assert infer_json(server, "slow", asked).status in {404, 503}
        assert [each.result(timeout=30).status for each in waiting] == [200] * 4
    server.wait_until(lambda: state(server, "slow") == ("UNAVAILABLE", "unloaded"), 10, "to unload")
    assert server.is_ready(), "what was unloaded in order is not missed"


def test_bodies_that_arrive_during_a_reload_are_answered(serve: Serve, tmp_path: Path) -> None:
    """A large body lies in the memory of the model that served when it came; another one may have to answer it."""
    copy_model(tmp_path, "identity")
    server = serve(tmp_path, options=ALL)
    data = os.urandom(4 << 20)
    described = {"name": "FP32", "datatype": "FP32", "shape": [1 << 20], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [described], "outputs": [{"name": "FP32_OUT"}]}).encode()

    def once() -> None:
        lengths = {"Inference-Header-Content-Length": str(len(header))}
        assert ask(server, "POST", "/v2/models/identity/infer", header + data, lengths).status in {200, 400}

    statuses = {ask(server, "GET", "/v2/models/identity").status}
    with under_load(once, 2):
        for _ in range(2):
            os.utime(tmp_path / "identity/1/model.py")
            assert load(server, "identity") == (200, "")
    assert statuses == {200}


def test_a_failing_reload_says_where_and_keeps_serving(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "changing", 1)
    server = serve(tmp_path, options=ALL)
    broken = CONSTANT.format(value=2) + "\n    def initialize(self, args):\n        raise KeyError('no weights')\n"
    write_model(tmp_path, "changing", broken, CONSTANT_CONFIG)
    line = broken.splitlines().index("        raise KeyError('no weights')") + 1
    with under_load(lambda: constant(server, "changing")) as answers:
        status, error = load(server, "changing")
    assert status == 400
    assert "KeyError" in error
    assert f"model.py({line}): initialize" in error
    assert set(answers) == {1}
    assert state(server, "changing")[0] == "READY"
    assert "no weights" in state(server, "changing")[1], "the index says that the last reload failed"
    assert "Traceback" in server.log
    write_constant(tmp_path, "changing", 3)
    assert load(server, "changing") == (200, "")
    assert (constant(server, "changing"), state(server, "changing")) == (3, ("READY", ""))


def test_unchanged_files_are_not_loaded_again(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "same", 1)
    server = serve(tmp_path, options=ALL)
    stubs = proc.stubs(server.pid)
    (tmp_path / "same/1/.model.py.swp").write_text("an editor's")
    (tmp_path / "same/1/model.py~").write_text("an editor's")
    assert load(server, "same") == (200, "")
    assert proc.stubs(server.pid) == stubs
    os.utime(tmp_path / "same/1/model.py")
    assert load(server, "same") == (200, "")
    server.wait_until(lambda: len(proc.stubs(server.pid)) == 1, 10, "to end the old instance")
    assert proc.stubs(server.pid) != stubs


def test_a_broken_model_is_loaded_again_from_unchanged_files(serve: Serve, tmp_path: Path) -> None:
    """The breaker opens after some deaths, index and /ready say why; a load closes it."""
    copy_model(tmp_path, "crashing")
    server = serve(tmp_path, options=ALL)

    def crash(how: str) -> int:
        return infer_json(server, "crashing", {"inputs": [tensor("HOW", "BYTES", [1], [how])]}).status

    for _ in range(5):
        server.wait_until(lambda: ask(server, "GET", "/v2/models/crashing/ready").status == 200, 20, "to restart")
        assert crash("SIGKILL") in {500, 503}
    server.wait_until(lambda: "died 5 times" in state(server, "crashing")[1], 10, "to open the breaker")
    assert state(server, "crashing")[0] == "UNAVAILABLE"
    answer = ask(server, "GET", "/v2/models/crashing/ready")
    assert answer.status == 400
    assert "died 5 times" in answer.error
    assert "SIGKILL" in answer.error
    assert crash("no") == 503
    assert load(server, "crashing") == (200, "")
    assert crash("no") == 200
    assert state(server, "crashing") == ("READY", "")


def test_a_change_of_instance_groups_alone_is_made_in_place(serve: Serve, tmp_path: Path) -> None:
    one, three = (CONSTANT_CONFIG + f"instance_group {{ count: {count} }}\n" for count in (1, 3))
    write_model(tmp_path, "grouped", STUB.format(initialize="        pass"), one)
    server = serve(tmp_path, options=ALL)
    (first,) = proc.stubs(server.pid)
    with under_load(lambda: constant(server, "grouped")) as answers:
        (tmp_path / "grouped/config.pbtxt").write_text(three)
        assert load(server, "grouped") == (200, "")
        assert len(proc.stubs(server.pid)) == 3
        assert first in proc.stubs(server.pid), "it serves on"
        assert ask(server, "GET", "/v2/models/grouped/config").json["instance_group"][0]["count"] == 3
        (tmp_path / "grouped/config.pbtxt").write_text(one)
        assert load(server, "grouped") == (200, "")
        server.wait_until(lambda: proc.stubs(server.pid) == [first], 10, "to end the instances that are too many")
    assert first in answers
    assert constant(server, "grouped") == first


def test_an_override_holds_until_the_files_change(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "overridden", 1)
    server = serve(tmp_path, options=ALL)

    def batch() -> int:
        return int(ask(server, "GET", "/v2/models/overridden/config").json.get("max_batch_size", 0))

    assert load(server, "overridden", config=config(max_batch_size=8)) == (200, "")
    assert batch() == 8
    assert load(server, "overridden") == (200, "")
    assert batch() == 8, "a load without an override, of files that are the same, changes nothing"
    os.utime(tmp_path / "overridden/1/model.py")
    assert load(server, "overridden") == (200, "")
    assert batch() == 0
    status, error = load(server, "overridden", config="backend: 'python'")
    assert status == 400
    assert "overridden" in error
    assert constant(server, "overridden") == 1


def uploads(folder: Path) -> list[Path]:
    return list(folder.glob("pyserver-model-*"))


def test_files_by_request(serve: Serve, tmp_path: Path, nothing_left_behind: Path) -> None:
    write_constant(tmp_path, "there", 1)
    server = serve(tmp_path, options=ALL)
    assert load(server, "sent", config=config(), **files(**{"1_model": CONSTANT.format(value=5)})) == (200, "")
    assert constant(server, "sent") == 5
    (folder,) = uploads(nothing_left_behind)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert load(server, "sent") == (200, "")
    assert constant(server, "sent") == 5
    assert load(server, "there", config=config(), **files(**{"1_model": CONSTANT.format(value=6)})) == (200, "")
    assert constant(server, "there") == 6
    assert load(server, "there", config=config(), **files(**{"1_model": "nonsense"}))[0] == 400
    assert constant(server, "there") == 6
    for name in ("sent", "there"):
        unload(server, name)
    server.wait_until(lambda: not uploads(nothing_left_behind), 10, "to remove the files with their models")
    assert load(server, "there") == (200, "")
    assert constant(server, "there") == 1
    assert load(server, "sent")[0] in {400, 404}


BAD_PATHS = (
    "../x",
    "1/../../x",
    "/etc/x",
    "1//model.py",
    "./1/model.py",
    "1\\model.py",
    "",
    "1/\0",
    "..",
    "1/model.py/",
)


def test_files_that_are_refused(serve: Serve, tmp_path: Path, nothing_left_behind: Path) -> None:
    (tmp_path / "empty").mkdir()
    server = serve(tmp_path / "empty", options=EXPLICIT)
    good = base64.b64encode(b"content").decode()
    for path in BAD_PATHS:
        status, error = load(server, "sent", config=config(), **{f"file:{path}": good})
        assert status == 400, (path, error)
    assert load(server, "sent", config=config(), **{"file:1/model.py": "no base64!"})[0] == 400
    assert load(server, "sent", **{"file:1/model.py": good})[0] == 400
    status, error = load(server, "sent", config=config(), **{"file:1": good, "file:1/model.py": good})
    assert status == 400
    assert "a file and a folder" in error
    assert uploads(nothing_left_behind) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_poll_mode_follows_the_repository(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "one", 1)
    server = serve(tmp_path, options=POLL)
    assert load(server, "one")[0] == 503
    write_constant(tmp_path, "two", 2)
    server.wait_until(lambda: state(server, "two")[0] == "READY", 20, "to load what is new")
    assert constant(server, "two") == 2
    with under_load(lambda: constant(server, "one")) as answers:
        write_constant(tmp_path, "one", 11)
        server.wait_until(lambda: constant(server, "one") == 11, 20, "to load what has changed")
    assert set(answers) == {1, 11}
    shutil.rmtree(tmp_path / "two")
    server.wait_until(lambda: "two" not in {name for name, _ in index(server)}, 20, "to unload what is gone")
    assert server.is_ready()


def test_poll_mode_takes_a_half_written_folder_when_it_is_whole(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "one", 1)
    server = serve(tmp_path, options=POLL)
    stubs = proc.stubs(server.pid)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/config.pbtxt").write_text(CONSTANT_CONFIG)
    (tmp_path / "one/1/.model.py.swp").write_text("an editor's")
    server.wait_until(lambda: state(server, "half")[0] == "UNAVAILABLE", 20, "to try the half of it")
    assert proc.stubs(server.pid) == stubs, "an editor's file is no change"
    write_constant(tmp_path, "half", 3)
    server.wait_until(lambda: state(server, "half") == ("READY", ""), 20, "to load the whole of it")
    write_model(tmp_path, "one", "raise OSError('bad')", CONSTANT_CONFIG)
    server.wait_until(lambda: "bad" in state(server, "one")[1], 20, "to try the change")
    assert (constant(server, "one"), constant(server, "half")) == (1, 3)


def test_loading_may_be_slow_but_not_silent(serve: Serve, tmp_path: Path) -> None:
    """Who waits shows signs of life; who holds the interpreter's lock in C, or is stopped, does not."""
    write_model(tmp_path, "waits", STUB.format(initialize="        import time; time.sleep(2)"), CONSTANT_CONFIG)
    silent = "        import ctypes; print('silent', flush=True); ctypes.PyDLL(None).sleep(60)"
    write_model(tmp_path, "silent", STUB.format(initialize=silent), CONSTANT_CONFIG)
    stopped = "        import signal; os.kill(os.getpid(), signal.SIGSTOP)"
    write_model(tmp_path, "stopped", STUB.format(initialize=stopped), CONSTANT_CONFIG)
    server = serve(tmp_path, options=(*EXPLICIT, "--model-load-timeout-secs", "1"))
    with ThreadPoolExecutor(3) as pool:
        asked = {name: pool.submit(load, server, name) for name in ("waits", "silent", "stopped")}
        assert asked["waits"].result(timeout=30) == (200, "")
        for name in ("silent", "stopped"):
            status, error = asked[name].result(timeout=30)
            assert status == 400
            assert "said nothing for 1 s while loading" in error
    assert len(proc.stubs(server.pid)) == 1


def test_loading_can_be_limited_and_tried_again(serve: Serve, tmp_path: Path) -> None:
    write_model(tmp_path, "long", STUB.format(initialize="        import time; time.sleep(60)"), CONSTANT_CONFIG)
    flaky = "        marker = os.path.join(os.environ['TMPDIR'], 'tried')\n"
    flaky += "        if os.path.exists(marker):\n            os.remove(marker)\n            return\n"
    flaky += "        open(marker, 'w').close()\n        raise OSError('not yet')"
    write_model(tmp_path, "flaky", STUB.format(initialize=flaky), CONSTANT_CONFIG)
    limits = ("--model-load-limit-secs", "1", "--model-load-retry-count", "1")
    server = serve(tmp_path, options=(*EXPLICIT, *limits))
    assert load(server, "flaky") == (200, "")
    assert "failed to load, 1 more tries" in server.log
    status, error = load(server, "long")
    assert status == 400
    assert "did not load within 1 s" in error


def test_sigterm_while_a_request_loads_a_model(serve: Serve, tmp_path: Path) -> None:
    stuck = "        import ctypes; print('stuck', flush=True); ctypes.PyDLL(None).sleep(60)"
    write_model(tmp_path, "stuck", STUB.format(initialize=stuck), CONSTANT_CONFIG)
    server = serve(tmp_path, options=EXPLICIT)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(load, server, "stuck")
        server.wait_log("stuck")
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 3
        assert asked.result(timeout=10)[0] == 503


def test_the_grace_serves_on_and_a_second_signal_cuts_it_short(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "one", 1)
    server = serve(tmp_path, options=("--drain-grace-secs", "60"))
    server.terminate()
    server.wait_until(lambda: not server.is_ready(), 5, "to say that it is not ready")
    assert constant(server, "one") == 1
    os.kill(server.pid, signal.SIGTERM)
    assert server.exited(2)


def test_instances_share_the_cpus(serve: Serve, tmp_path: Path) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    source = STUB.format(initialize=f"        print([os.environ[name] for name in {names}], flush=True)")
    cpus = len(os.sched_getaffinity(0))
    write_model(tmp_path, "many", source, CONSTANT_CONFIG + f"instance_group {{ count: {cpus} }}\n")
    write_model(tmp_path, "alone", source, CONSTANT_CONFIG)
    environment = dict.fromkeys(names, "") | {"MKL_NUM_THREADS": "7"}
    server = serve(tmp_path, env={"MKL_NUM_THREADS": environment["MKL_NUM_THREADS"]})
    assert "['1', '7', '1', '1']" in server.wait_lines(1, "many/1 many_0_0", "['")[0]
    said = server.wait_lines(1, "alone/1", "'7'")
    assert len(said) == 1


DESCENDANTS = """
import multiprocessing, os, subprocess, sys, threading
import numpy as np
import triton_python_backend_utils as pb_utils
from concurrent.futures import ProcessPoolExecutor

DAEMON = "import os, sys, time; os.setsid(); os.fork() and os._exit(0); print('away', flush=True); time.sleep(600)"

class TritonPythonModel:
    def initialize(self, args):
        self.pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        daemon = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE)
        daemon.stdout.readline()
        daemon.wait()
        self.thread = threading.Thread(target=threading.Event().wait, daemon=True)
        self.thread.start()

    def execute(self, requests):
        value = self.pool.submit(sum, [40, 2]).result()
        value = pb_utils.Tensor("VALUE", np.array([value], np.int32))
        return [pb_utils.InferenceResponse([value]) for _ in requests]
"""


@pytest.mark.parametrize("how", ["unload", "SIGKILL"])
def test_no_descendant_outlives_its_model(serve: Serve, tmp_path: Path, how: str) -> None:
    """Processes in a pool, in a session of their own, and a daemon whose parent is gone."""
    write_model(tmp_path, "family", DESCENDANTS, CONSTANT_CONFIG)
    server = serve(tmp_path, options=ALL)
    assert constant(server, "family") == 42
    (stub,) = proc.stubs(server.pid)
    mark = next(line for line in Path(f"/proc/{stub}/environ").read_text().split("\0") if line.startswith("PYSERVER_S"))
    family = proc.marked(mark)
    assert len(family) >= 4
    if how == "unload":
        unload(server, "family")
    else:
        os.kill(stub, signal.SIGKILL)
    server.wait_until(lambda: not any(map(proc.alive, family)), 20, "to end the family")


def test_reloading_over_and_over_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    write_constant(tmp_path, "again", 0)
    server = serve(tmp_path, options=ALL)

    def reload() -> None:
        os.utime(tmp_path / "again/1/model.py")
        assert load(server, "again") == (200, "")
        server.wait_until(lambda: len(proc.stubs(server.pid)) == 1, 10, "to end the old instance")

    reload()
    descriptors, threads = proc.descriptors(server.pid), proc.threads(server.pid)
    with under_load(lambda: constant(server, "again"), 2):
        for _ in range(8):
            reload()
    server.wait_until(lambda: proc.descriptors(server.pid) <= descriptors + 2, 10, "to close what it opened")
    assert proc.threads(server.pid) <= threads + 4


@pytest.mark.parametrize("forked", [True, False])
def test_random_numbers_are_of_each_instance_alone(serve: Serve, tmp_path: Path, forked: bool) -> None:
    """Forks begin with the state of one process: their generators are seeded anew."""
    said = "        import random; print('random', random.random(), np.random.random(), flush=True)"
    write_model(tmp_path, "random", STUB.format(initialize=said), CONSTANT_CONFIG + "instance_group { count: 2 }\n")
    server = serve(tmp_path, options=(f"--fork-stubs={str(forked).lower()}",))
    first, second = (line.split()[-2:] for line in server.wait_lines(2, "random "))
    assert not set(first) & set(second)
    parents = {proc.parent(stub) for stub in proc.stubs(server.pid)}
    assert (parents == {server.pid}) is not forked


def test_devices(serve: Serve, tmp_path: Path) -> None:
    """KIND_AUTO takes the CPU where no GPU may be used; KIND_GPU says that there is none."""
    said = "        print(args['model_instance_kind'], args['model_instance_device_id'], flush=True)"
    for kind in ("AUTO", "GPU"):
        group = f"instance_group {{ kind: KIND_{kind} }}\n"
        write_model(tmp_path, kind.lower(), STUB.format(initialize=said), CONSTANT_CONFIG + group)
    server = serve(tmp_path, options=EXPLICIT, env={"CUDA_VISIBLE_DEVICES": ""})
    assert load(server, "auto") == (200, "")
    server.wait_log("auto/1 auto_0_0: CPU 0")
    status, error = load(server, "gpu")
    assert status == 400
    assert "GPUs available to this server: none" in error
