"""`mlserver_sklearn.SKLearnModel`: an estimator or a pipeline, stored by joblib or pickle."""

from __future__ import annotations

from typing import Any

import joblib
from mlserver import MLModel
from mlserver.codecs import NumpyRequestCodec
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, InferenceResponse
from pyserver_runtimes.artefact import artefact
from pyserver_runtimes.outputs import encoded, refuse, requested

FILES = ("model.joblib", "model.pickle", "model.pkl")
PREDICT = "predict"
OUTPUTS = (PREDICT, "predict_proba", "transform")


class SKLearnModel(MLModel):
    """Outputs are the estimator's methods: `predict` unless others are asked for.

    `parameters.extra.predict_fn` names another method for requests that ask for no output.
    """

    async def load(self) -> bool:
        """Read the artefact; MLServerError names what is not there."""
        self._model = joblib.load(await artefact(self.settings, FILES))
        extra = self.settings.parameters.extra if self.settings.parameters is not None else None
        self._default = str((extra or {}).get("predict_fn", PREDICT))
        if not callable(getattr(self._model, self._default, None)):
            if self._default == PREDICT and callable(getattr(self._model, "transform", None)):
                self._default = "transform"  # a transformer alone: it has nothing else to answer with
            else:
                raise MLServerError(f"{type(self._model).__name__} has no method '{self._default}'", 422)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the methods that are asked for. InferenceError (400) for one that this model does not have."""
        outputs = requested(self, payload, OUTPUTS, self._default)
        methods = [self._method(output.name) for output in outputs]
        data = self.decode_request(payload, default_codec=NumpyRequestCodec)
        values = [method(data) for method in methods]
        return InferenceResponse(
            model_name=self.name, model_version=self.version, outputs=encoded(self, outputs, values)
        )

    def _method(self, name: str) -> Any:
        method = getattr(self._model, name, None)
        if not callable(method):
            raise refuse(_last(self._model), name)
        return method


def _last(model: Any) -> Any:
    """The step of a pipeline that answers; the model itself if it is none."""
    steps = getattr(model, "steps", None)
    return steps[-1][1] if steps else model
