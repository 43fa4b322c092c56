"""From LOAD to INITIALIZED: spec 4.1, 4.2 and 3.4."""

import pytest

from pyserver.ipc import messages
from tests.stub.conftest import Start
from tests.stub.models import IDENTITY


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def (", "SyntaxError: invalid syntax (model.py, line 1)"),
        ("x = 1", "AttributeError: module '1.model' has no attribute 'TritonPythonModel'"),
        ("import nothere", "ModuleNotFoundError: No module named 'nothere'\n\nAt:\n  {path}(1): <module>\n"),
        ("raise SystemExit(3)", "SystemExit: 3\n\nAt:\n  {path}(1): <module>\n"),
    ],
)
def test_a_file_that_cannot_be_imported(start: Start, source: str, error: str) -> None:
    driver = start()
    said = driver.load(source)
    assert said["error"] == error.format(path=driver.folder / "1" / "model.py")
    assert error.split(":")[0] in said["traceback"]
    assert "pyserver" not in said["traceback"]
    assert driver.finalize() == {}


def test_no_file(start: Start) -> None:
    driver = start()
    said = driver.load("", model_file=str(driver.folder / "1" / "none.py"))
    assert said["error"] == f"FileNotFoundError: Python model file not found in '{driver.folder}/1/none.py'"


def test_modules_beside_the_model(start: Start) -> None:
    driver = start()
    backend = driver.folder / "backend"
    backend.mkdir()
    for folder, name in ((driver.folder / "1", "one"), (driver.folder, "two"), (backend, "three")):
        (folder / f"{name}.py").write_text(f"here = '{name}'\n")
    said = driver.load("import one, two, three\n" + IDENTITY, backend_directory=str(backend))
    assert said == {"config": None}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "TypeError: auto_complete_config function in model 'm' must return a valid pb.ModelConfig object."),
        ("config.set_max_batch_size(-1)", "ValueError: configuration specified max_batch_size 0"),
    ],
)
def test_a_config_that_cannot_be_completed(start: Start, returned: str, said: str) -> None:
    source = f"""
    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            return {returned}
    """
    assert start().load(source, complete_config=True)["error"].startswith(said)
    assert start().load(source, complete_config=False) == {"config": None}


def test_a_config_that_is_no_json(start: Start) -> None:
    source = """
    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            config.set_max_batch_size({1, 2} and 3)
            config.as_dict()["parameters"] = {1, 2}
            return config
    """
    assert "not JSON serializable" in start().load(source, complete_config=True)["error"]


def test_initialize_fails(start: Start) -> None:
    source = """
    class TritonPythonModel:
        def initialize(self, args):
            raise RuntimeError("no " + args["model_instance_name"])
    """
    driver = start()
    assert driver.load(source) == {"config": None}
    path = driver.folder / "1" / "model.py"
    assert driver.initialize()["error"] == f"RuntimeError: no m_0_0\n\nAt:\n  {path}(4): initialize\n"


def test_a_constructor_fails(start: Start) -> None:
    driver = start()
    driver.load("class TritonPythonModel:\n    def __init__(self):\n        1 / 0\n")
    assert driver.initialize()["error"].startswith("ZeroDivisionError: division by zero\n\nAt:\n")


def test_no_model_no_initialize(start: Start) -> None:
    driver = start()
    driver.load("x = 1")
    assert "INITIALIZE before a LOAD" in driver.initialize()["error"]


def test_an_execute_before_its_time_is_the_servers_fault(start: Start) -> None:
    driver = start()
    driver.load(IDENTITY)
    driver.send(driver.payload([driver.request({})]))
    with pytest.raises(EOFError, match="MessageError: an EXECUTE before INITIALIZE"):
        driver.next(messages.RESPONSE)
    assert driver.process.wait(30) == 1
