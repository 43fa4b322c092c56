"""A runtime with hints that MLServer itself refuses."""

import datetime
from typing import List, Optional, Tuple, Union

import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args


class Modern(MLModel):
    """Optional inputs, times, and single values."""

    @decode_args
    def predict(
        self, when: Optional[List[datetime.datetime]] = None, name: Union[str, None] = None, scale: float = 2.0
    ) -> Tuple[List[str], np.ndarray]:
        return [str(name), *(time.date().isoformat() for time in when or [])], np.array([scale])
