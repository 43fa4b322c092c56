"""`mlserver_xgboost.XGBoostModel`: a regressor or a classifier, in one of XGBoost's own formats."""

from __future__ import annotations

from typing import Any

import xgboost
from mlserver import MLModel
from mlserver.codecs import NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse
from pyserver_runtimes.artefact import artefact
from pyserver_runtimes.outputs import encoded, refuse, requested

FILES = ("model.bst", "model.json", "model.ubj")
PREDICT = "predict"
PROBABILITIES = "predict_proba"


class XGBoostModel(MLModel):
    """Outputs are `predict` and, for classifiers, `predict_proba`.

    A file that was written by a classifier is one; any other, a bare booster's too, is a regressor.
    """

    async def load(self) -> bool:
        """Read the artefact; MLServerError names what is not there."""
        self._model = _read(await artefact(self.settings, FILES))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the methods that are asked for. InferenceError (400) for one that this model does not have."""
        outputs = requested(self, payload, (PREDICT, PROBABILITIES), PREDICT)
        for output in outputs:
            if not hasattr(self._model, output.name):
                raise refuse(self._model, output.name)
        data = self.decode_request(payload, default_codec=NumpyRequestCodec)
        values = [getattr(self._model, output.name)(data) for output in outputs]
        return InferenceResponse(
            model_name=self.name, model_version=self.version, outputs=encoded(self, outputs, values)
        )


def _read(path: str) -> Any:
    """The model in a file, as the kind that wrote it."""
    try:
        model = xgboost.XGBRegressor()
        model.load_model(path)
    except TypeError:  # it was a classifier that wrote it
        model = xgboost.XGBClassifier()
        model.load_model(path)
    return model
