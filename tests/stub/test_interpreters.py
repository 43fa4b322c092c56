"""A stub under every interpreter that the machine has: what must not depend on it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pyserver.ipc import messages
from tests.stub.conftest import Start
from tests.stub.driver import PATIENCE, Raw
from tests.stub.models import ADD_SUB, IDENTITY, STRINGS

Python = tuple[str, dict[str, str]]

TENSORS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([0, 255], "u1"),
    "UINT16": np.array([0, 65535], "u2"),
    "UINT32": np.array([0, 2**32 - 1], "u4"),
    "UINT64": np.array([0, 2**64 - 1], "u8"),
    "INT8": np.array([-128, 127], "i1"),
    "INT16": np.array([-(2**15)], "i2"),
    "INT32": np.array([-(2**31)], "i4"),
    "INT64": np.array([-(2**63)], "i8"),
    "FP16": np.array([[1.5], [-2]], "f2"),
    "FP32": np.array(3.25, "f4"),
    "FP64": np.zeros((2, 0, 3), "f8"),
    "BYTES": np.array([[b"a\0", b"", b"\xff" * 300]], object),
}


def test_every_datatype_there_and_back(start: Start, python: Python) -> None:
    driver = start(python).ready(IDENTITY)
    assert driver.hello["version"] == messages.VERSION
    assert driver.hello["pid"] == driver.process.pid
    assert Path(f"/proc/{driver.process.pid}/comm").read_text() == "stub of a test\n"
    answer = driver.infer(TENSORS)
    assert answer.code == messages.OK, answer.message
    assert answer.flags == messages.FINAL
    assert list(answer.outputs) == [f"OUT_{name}" for name in TENSORS]
    for name, value in TENSORS.items():
        back = answer.outputs[f"OUT_{name}"]
        assert back.dtype == value.dtype
        assert back.shape == value.shape
        assert back.tolist() == value.tolist()
    assert driver.finalize() == {}


def test_add_sub_completes_its_config(start: Start, python: Python) -> None:
    driver = start(python)
    said = {"name": "INPUT1", "data_type": "TYPE_FP32", "dims": [4]}
    completed = driver.load(ADD_SUB, {"input": [said]}, complete_config=True)["config"]
    assert [entry["name"] for entry in completed["input"]] == ["INPUT1", "INPUT0"]
    assert completed["max_batch_size"] == 8
    assert completed["dynamic_batching"] == {}
    driver.config = completed
    assert driver.initialize() == {}
    a, b = np.array([[1, 2, 3, 4]], "f4"), np.array([[4, 3, 2, 1]], "f4")
    first, second = driver.execute(
        driver.request({"INPUT0": a, "INPUT1": b}), driver.request({"INPUT0": b, "INPUT1": b}, ("OUTPUT1",))
    )
    assert first.outputs["OUTPUT0"].tolist() == [[5, 5, 5, 5]]
    assert first.outputs["OUTPUT1"].tolist() == [[-3, -1, 1, 3]]
    assert list(second.outputs) == ["OUTPUT1"]
    assert second.outputs["OUTPUT1"].tolist() == [[0, 0, 0, 0]]
    assert driver.finalize() == {}
    assert driver.process.stdout is not None
    assert driver.process.stdout.read() == b"add_sub is done\n"


def test_strings(start: Start, python: Python) -> None:
    driver = start(python).ready(STRINGS)
    answer = driver.infer({"WORDS": np.array([["one", "é"], ["three", ""]], object)})
    assert answer.outputs["UPPER"].tolist() == [[b"ONE", "É".encode()], [b"THREE", b""]]
    assert answer.outputs["FIXED"].tolist() == [b"one", "é".encode(), b"thr", b""]


def test_the_compiled_codec_loads_everywhere(start: Start, python: Python) -> None:
    pytest.importorskip("pyserver.stub._bytes", reason="not built: python setup.py build_ext --inplace")
    source = """
    import numpy as np, sys
    import triton_python_backend_utils as pb_utils
    from pyserver.stub import bytes_codec
    class TritonPythonModel:
        def execute(self, requests):
            found = np.array([bytes_codec.pack_list.__module__, str("pyserver.errors" in sys.modules)])
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", found)])]
    """
    driver = start(python).ready(source)
    assert driver.infer({}).outputs["OUT"].tolist() in ([b"_bytes", b"False"], [b"pyserver.stub._bytes", b"False"])


def test_dlpack(start: Start, python: Python) -> None:
    source = """
    import numpy as np
    import triton_python_backend_utils as pb_utils
    class TritonPythonModel:
        def execute(self, requests):
            (a, b) = requests[0].inputs()
            if not hasattr(np.ndarray, "__dlpack__"):
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError("old numpy"))]
            outputs = [pb_utils.Tensor.from_dlpack("A", a.to_dlpack()), pb_utils.Tensor.from_dlpack("B", b)]
            return [pb_utils.InferenceResponse(outputs)]
    """
    driver = start(python).ready(source)
    halves = Raw("BF16", (2,), b"\x80\x3f\0\x40")
    answer = driver.infer({"A": np.array([1.5, 2], "f4"), "B": halves})
    if answer.message != "old numpy":
        assert answer.outputs["A"].tolist() == [1.5, 2]
        assert answer.outputs["B"] == halves


def wait_for_end(pid: int) -> None:
    """Until the process is gone, or a zombie that somebody else has to reap."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still runs")


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.stub.driver import Driver
from tests.stub.models import body
from pyserver.ipc import messages
driver = Driver(Path(sys.argv[1]), sys.argv[2], {environment!r})
driver.ready(body("time.sleep(600)"))
driver.send(driver.payload([driver.request({{}})]))
print(driver.process.pid, flush=True)
time.sleep(600)
"""


def test_a_stub_dies_with_the_server_even_while_it_executes(tmp_path: Path, python: Python) -> None:
    path, environment = python
    source = PARENT.format(root=str(Path(__file__).parents[2]), environment=environment)
    command = [sys.executable, "-c", source, str(tmp_path / "model"), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        stub = int(parent.stdout.readline())
        parent.kill()
    try:
        wait_for_end(stub)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stub, signal.SIGKILL)


def test_signals_are_left_to_the_server_but_obeyed_by_children(start: Start, python: Python) -> None:
    source = """
    import os, signal, time
    import numpy as np
    import triton_python_backend_utils as pb_utils
    class TritonPythonModel:
        def execute(self, requests):
            child = os.fork()
            if child == 0:
                time.sleep(600)
            os.kill(child, signal.SIGTERM)
            status = os.waitpid(child, 0)[1]
            return [pb_utils.InferenceResponse([pb_utils.Tensor("STATUS", np.array([status]))])]
    """
    driver = start(python).ready(source)
    os.killpg(driver.process.pid, signal.SIGINT)
    os.killpg(driver.process.pid, signal.SIGTERM)
    answer = driver.infer({})
    assert answer.outputs["STATUS"].tolist() == [signal.SIGTERM]
    assert driver.finalize() == {}


def test_end_of_the_channel_is_the_end(start: Start, python: Python) -> None:
    driver = start(python).ready(IDENTITY)
    driver.channel.close()
    assert driver.process.wait(PATIENCE) == 1
    assert driver.errors() == ""


def test_prints_come_line_by_line(start: Start, python: Python) -> None:
    source = """
    import logging, os, sys
    print("loaded")
    logging.getLogger("mine").info("informed")
    class TritonPythonModel:
        def execute(self, requests):
            print(sys.argv, sys.path[0].endswith("site"), __name__, os.path.isabs(__file__), type(self).__module__)
            print(sys.path[-2:] == [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))])
            import c_python_backend_utils as c, triton_python_backend_utils as pb
            print(c.Tensor is pb.Tensor, pb.get_model_dir() == os.path.dirname(__file__))
            return [pb.InferenceResponse([])]
    """
    driver = start(python).ready(source)
    assert driver.process.stdout is not None
    assert driver.process.stderr is not None
    assert driver.infer({}).code == messages.OK
    select.select([driver.process.stdout], [], [], PATIENCE)
    lines = os.read(driver.process.stdout.fileno(), 4096).decode().splitlines()
    assert lines == ["loaded", "[''] True 1.model True 1.model", "True", "True True"]
    assert os.read(driver.process.stderr.fileno(), 4096) == b"INFO:mine:informed\n"


def test_an_environment_without_numpy_says_so(tmp_path: Path) -> None:
    boot = Path(__file__).parents[2] / "pyserver/stub/boot.py"
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy is not here')\n")
    ended = subprocess.run(
        [sys.executable, str(boot), "0", "0", "0", "0", "title"],
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 70
    assert ended.stderr == f"{sys.executable} cannot run a model: ImportError: numpy is not here\n"
