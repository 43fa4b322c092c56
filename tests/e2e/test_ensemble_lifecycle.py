"""Models that come and go under the ensembles that have steps of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Answer, ask, index
from tests.support.ensembles import EXPLICIT, control, counts, run, state, values, write_models
from tests.support.repositories import write_add, write_ensemble, write_model


@pytest.mark.ours
def test_a_step_that_goes_takes_the_ensemble_with_it_and_brings_it_back(serve: Serve, tmp_path: Path) -> None:
    write_models(tmp_path)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "nested"))
    loaded = {name for (name, _), entry in index(server).items() if entry.get("state") == "READY"}
    assert loaded == {"nested", "diamond", "plus1", "plus2", "plus10", "plus100"}, "with the models of its steps"
    assert values(run(server, "nested", [0])) == {"OUT": [115]}
    assert control(server, "plus10", "unload").status == 200
    for name, reason in (("diamond", "plus10 (unloaded)"), ("nested", "diamond (")):
        assert state(server, name)[0] == "UNAVAILABLE"
        assert reason in state(server, name)[1]
        assert run(server, name, [0]).status == 404
        assert ask(server, "GET", f"/v2/models/{name}/ready").status == 400
    assert not server.is_ready()
    assert control(server, "plus10", "load").status == 200
    assert (state(server, "diamond"), state(server, "nested")) == (("READY", ""), ("READY", ""))
    assert values(run(server, "nested", [0])) == {"OUT": [115]}
    assert control(server, "plus10", "unload").status == 200
    assert control(server, "nested", "unload").status == 200
    assert control(server, "plus10", "load").status == 200
    assert (state(server, "diamond")[0], state(server, "nested")) == ("READY", ("UNAVAILABLE", "unloaded"))


@pytest.mark.ours
def test_a_step_that_comes_back_changed(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "plus1")
    write_ensemble(tmp_path, "user", ["plus1 X=IN -> Y=OUT"])
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "*"))
    write_add(tmp_path, "plus1", add=7)
    assert control(server, "plus1", "load").status == 200
    assert values(run(server, "user", [0])) == {"OUT": [7]}
    write_add(tmp_path, "plus1", inputs="Z", add=7)
    assert control(server, "plus1", "load").status == 200
    assert state(server, "user")[0] == "UNAVAILABLE"
    assert "non-existing input X in model plus1" in state(server, "user")[1]
    write_add(tmp_path, "plus1", add=8)
    assert control(server, "plus1", "load").status == 200
    assert values(run(server, "user", [0])) == {"OUT": [8]}


@pytest.mark.ours
def test_unloading_with_dependents(serve: Serve, tmp_path: Path) -> None:
    write_models(tmp_path)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "nested", "--load-model", "plus100"))
    assert control(server, "fan", "load").status == 200
    assert control(server, "nested", "unload", unload_dependents=True).status == 200
    server.wait_until(lambda: state(server, "plus2")[0] == "UNAVAILABLE", 10, "to unload")
    left = {name for (name, _), entry in index(server).items() if entry.get("state") == "READY"}
    assert left == {"fan", "plus1", "plus10", "plus100"}, "what another ensemble uses, or somebody asked for, stays"


@pytest.mark.ours
def test_a_step_is_reloaded_under_load_and_nobody_fails(serve: Serve, tmp_path: Path) -> None:
    write_models(tmp_path)
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "diamond"))
    done = threading.Event()
    seen: list[Answer] = []

    def keep_asking() -> None:
        while not done.is_set():
            seen.append(run(server, "diamond", [0]))

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    for model in ("plus1", "plus10", "plus2", "diamond"):
        (tmp_path / model / "config.pbtxt").touch()
        assert control(server, model, "load").status == 200
        server.wait_log(f"successfully unloaded '{model}' version 1", 10)
    done.set()
    for asker in askers:
        asker.join()
    assert len(seen) > 20
    assert [answer for answer in seen if answer.status != 200] == []


@pytest.mark.ours
def test_what_was_accepted_is_answered_when_a_step_is_unloaded(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "slow", sleep=0.5)
    write_add(tmp_path, "plus1")
    write_ensemble(tmp_path, "chain", ["slow X=IN -> Y=mid", "plus1 X=mid -> Y=OUT"])
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "chain"))
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(run, server, "chain", [0]) for _ in range(2)]
        server.wait_until(lambda: counts(server, "slow")[1] == 1, 10, "to be under way")
        assert control(server, "plus1", "unload").status == 200
        assert run(server, "chain", [0]).status == 404
        assert [values(answer.result()) for answer in accepted] == [{"OUT": [2]}] * 2
    server.wait_until(lambda: state(server, "plus1") == ("UNAVAILABLE", "unloaded"), 10, "to unload")


@pytest.mark.ours
def test_a_step_whose_process_died(serve: Serve, tmp_path: Path) -> None:
    source = "import os\nclass TritonPythonModel:\n    def execute(self, requests):\n        os._exit(3)\n"
    write_model(tmp_path, "dies", source,
                'backend: "python"\ninput { name: "X" data_type: TYPE_FP32 dims: [ -1 ] }\n'
                'output { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }\n')  # fmt: skip
    write_ensemble(tmp_path, "mortal", ["dies X=IN -> Y=OUT"])
    server = serve(tmp_path)
    answer = run(server, "mortal", [0])
    assert answer.status == 503
    assert "in ensemble 'mortal', step 'dies': Stub process 'dies_0" in answer.error
    assert "exit" in answer.error


@pytest.mark.ours
def test_a_reload_that_fails_leaves_what_served_and_its_reason(serve: Serve, tmp_path: Path) -> None:
    write_add(tmp_path, "plus1")
    write_ensemble(tmp_path, "user", ["plus1 X=IN -> Y=OUT"])
    server = serve(tmp_path, options=(*EXPLICIT, "--load-model", "user"))
    write_ensemble(tmp_path, "user", ["plus1 Z=IN -> Y=OUT"])
    assert control(server, "user", "load").status == 400
    write_add(tmp_path, "plus1", add=5)
    assert control(server, "plus1", "load").status == 200
    assert state(server, "user")[0] == "READY"
    assert "the last reload failed: Invalid argument: " in state(server, "user")[1]
    assert values(run(server, "user", [0])) == {"OUT": [5]}
