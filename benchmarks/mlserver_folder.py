"""The MLServer folder that pyserver and MLServer both serve: its models, and the answers that they have to give."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FOLDER = Path(__file__).parent / "models_mlserver"
FEATURES = 4


def write_folder(folder: Path) -> None:
    """Copy it to `folder`, with the trained model in its place; without that model where scikit-learn is missing."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        import joblib
    except ImportError:
        shutil.rmtree(folder / "mlserver_sklearn")
    else:
        joblib.dump(estimator(), folder / "mlserver_sklearn" / "model.joblib")


@functools.cache
def estimator() -> Any:
    """A classifier of three classes over FEATURES numbers, trained on the same rows each time."""
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(11).normal(0, 100, (300, FEATURES))
    return LogisticRegression(max_iter=1000).fit(rows, np.digitize(rows.sum(axis=1), [-100, 100]))


def doubled(array: Array) -> Array:
    """What `mlserver_numpy` makes of its input."""
    return array * 2


def predicted(array: Array) -> Array:
    """What `mlserver_sklearn` makes of its input."""
    found: Array = estimator().predict(array)
    return found
