"""The runtimes that come with the server, over models made here: scikit-learn, and XGBoost where it is installed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Serve
from tests.support.clients import ask, infer_json, tensor
from tests.support.environments import mlserver_on_old_python
from tests.support.mlserver import write_settings
from tools.process import ServerProcess

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

pytestmark = pytest.mark.ours

SKLEARN = "mlserver_sklearn.SKLearnModel"
XGBOOST = "mlserver_xgboost.XGBoostModel"
ROWS = np.random.default_rng(3).normal(size=(60, 2))
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)
ASKED = np.array([[1.5, 2.0], [-2.0, -0.5]])


def write(repository: Path, name: str, implementation: str = SKLEARN, **settings: Any) -> Path:
    return write_settings(repository / name, implementation=implementation, **settings).parent


@pytest.fixture(scope="module")
def served(make_server: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    plain = LogisticRegression().fit(ROWS, CLASSES)
    joblib.dump(plain, write(folder, "plain", parameters={"version": "v1"}) / "model.joblib")
    worded = LogisticRegression().fit(ROWS, np.array(["no", "yes"])[CLASSES])
    (write(folder, "worded") / "model.pickle").write_bytes(pickle.dumps(worded))
    scaler = StandardScaler().fit(ROWS)
    joblib.dump(scaler, write(folder, "scaler", parameters={"uri": "./scaler.bin"}) / "scaler.bin")
    both = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CLASSES)
    extra = {"extra": {"predict_fn": "decision_function"}}
    (write(folder, "decides", parameters=extra) / "model.pkl").write_bytes(pickle.dumps(both))
    pandas = pytest.importorskip("pandas")
    framed = StandardScaler().set_output(transform="pandas").fit(pandas.DataFrame(ROWS, columns=["a", "b"]))
    joblib.dump(framed, write(folder, "framed", parameters={"content_type": "pd"}) / "model.joblib")
    with make_server(folder, start=True) as server:
        yield server


def asked(*outputs: str, rows: Any = ASKED, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"inputs": [tensor("x", "FP64", list(rows.shape), rows.ravel().tolist())], **more}
    return {**body, "outputs": [{"name": name} for name in outputs]} if outputs else body


def outputs(answer: Any) -> dict[str, Any]:
    assert answer.status == 200, answer
    return {output["name"]: np.reshape(output["data"], output["shape"]) for output in answer.json["outputs"]}


def refusal(answer: Any) -> str:
    assert answer.status == 400, answer
    return str(answer.error)


def test_predict_is_the_default(served: ServerProcess) -> None:
    answer = infer_json(served, "plain", asked())
    assert {name: value.tolist() for name, value in outputs(answer).items()} == {"predict": [[1], [0]]}
    assert answer.json["outputs"][0]["datatype"] == "INT64"
    assert answer.json["model_version"] == "v1"


def test_several_outputs_together(served: ServerProcess) -> None:
    found = outputs(infer_json(served, "plain", asked("predict_proba", "predict")))
    assert list(found) == ["predict_proba", "predict"]
    assert found["predict_proba"].shape == (2, 2)
    assert np.allclose(found["predict_proba"].sum(1), 1)


def test_outputs_that_there_are_not(served: ServerProcess) -> None:
    said = refusal(infer_json(served, "plain", asked("something")))
    known = "'predict', 'predict_proba', 'transform'"
    assert f"SKLearnModel only supports {known} as outputs (something was received)" in said
    said = refusal(infer_json(served, "plain", asked("transform")))
    assert "LogisticRegression models do not support 'transform'" in said
    said = refusal(infer_json(served, "scaler", asked("predict")))
    assert "StandardScaler models do not support 'predict'" in said


def test_classes_that_are_words(served: ServerProcess) -> None:
    answer = infer_json(served, "worded", asked())
    assert answer.json["outputs"][0]["datatype"] == "BYTES"
    assert answer.json["outputs"][0]["data"] == ["yes", "no"]


def test_a_transformer_answers_with_what_it_can(served: ServerProcess) -> None:
    found = outputs(infer_json(served, "scaler", asked()))
    assert np.allclose(found["transform"], StandardScaler().fit(ROWS).transform(ASKED))


def test_another_method_by_the_settings(served: ServerProcess) -> None:
    both = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CLASSES)
    found = outputs(infer_json(served, "decides", asked()))
    assert np.allclose(found["decision_function"].ravel(), both.decision_function(ASKED))


def test_data_frames_in_and_out(served: ServerProcess) -> None:
    columns = [tensor(name, "FP64", [2, 1], ASKED[:, place].tolist()) for place, name in enumerate("ab")]
    found = outputs(infer_json(served, "framed", {"inputs": columns}))
    expected = StandardScaler().fit(ROWS).transform(ASKED)
    assert np.allclose(np.column_stack([found["a"].ravel(), found["b"].ravel()]), expected)
    both = {"inputs": columns, "outputs": [{"name": "transform"}, {"name": "transform"}]}
    assert "expected it alone" in refusal(infer_json(served, "framed", both))


def test_two_inputs_are_one_too_many(served: ServerProcess) -> None:
    body = asked()
    body["inputs"].append(tensor("y", "FP64", [1], [1.0]))
    assert "2 were received" in refusal(infer_json(served, "plain", body))


@pytest.mark.heavy
def test_xgboost(serve: Serve, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    classifier = xgboost.XGBClassifier(n_estimators=3).fit(ROWS, CLASSES)
    classifier.save_model(write(tmp_path, "classifier", XGBOOST) / "model.json")
    regressor = xgboost.XGBRegressor(n_estimators=3).fit(ROWS, ROWS[:, 0])
    regressor.save_model(write(tmp_path, "regressor", XGBOOST) / "model.ubj")
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, CLASSES), 3)
    booster.save_model(write(tmp_path, "booster", XGBOOST) / "model.ubj")
    (tmp_path / "booster" / "model.ubj").rename(tmp_path / "booster" / "model.bst")
    server = serve(tmp_path, start=True)
    found = outputs(infer_json(server, "classifier", asked("predict", "predict_proba")))
    assert found["predict"].ravel().tolist() == classifier.predict(ASKED).tolist()
    assert np.allclose(found["predict_proba"], classifier.predict_proba(ASKED))
    assert np.allclose(outputs(infer_json(server, "regressor", asked()))["predict"].ravel(), regressor.predict(ASKED))
    raw = outputs(infer_json(server, "booster", asked()))["predict"].ravel()
    assert np.allclose(raw, booster.predict(xgboost.DMatrix(ASKED)))
    said = refusal(infer_json(server, "regressor", asked("predict_proba")))
    assert "XGBRegressor models do not support 'predict_proba'" in said
    missing = asked()
    missing["inputs"][0]["data"][0] = None
    assert infer_json(server, "classifier", missing).status == 200, "a null is a NaN, which XGBoost takes"


@pytest.mark.heavy
def test_the_walk_through_custom_environments(serve: Serve, tmp_path: Path) -> None:
    """Python 3.8 with scikit-learn 0.24.2, in a tarball; the server's own Python is another."""
    archive = mlserver_on_old_python()
    folder = write(tmp_path, "old", parameters={"environment_tarball": str(archive), "uri": "./model.joblib"})
    source = (
        "import sys, joblib, numpy; from sklearn.linear_model import LogisticRegression as L;"
        "rows = numpy.array([[0.0], [1.0], [2.0], [3.0]]);"
        "joblib.dump(L().fit(rows, [0, 0, 1, 1]), sys.argv[1])"
    )
    unpacked = tmp_path / "environment"
    unpacked.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", unpacked], check=True)
    subprocess.run([unpacked / "bin/python", "-I", "-c", source, folder / "model.joblib"], check=True)
    server = serve(tmp_path, start=True)
    found = outputs(infer_json(server, "old", asked(rows=np.array([[0.0], [3.0]]))))
    assert found["predict"].ravel().tolist() == [0, 1]
    assert sys.version_info[:2] != (3, 8)
    assert json.loads(ask(server, "GET", "/v2/models/old").body)["name"] == "old"
