"""A runtime over data frames, apart from those that need no pandas: each process would import it."""

import pandas as pd
from mlserver import MLModel
from mlserver.codecs import decode_args


class Frame(MLModel):
    """A data frame in, a data frame out."""

    @decode_args
    async def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(total=frame.sum(axis=1, numeric_only=True))
