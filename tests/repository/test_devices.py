"""The GPUs that configurations name, against those that there are."""

from __future__ import annotations

import pytest

from pyserver.errors import ServerError
from pyserver.proto import model_config
from pyserver.repository import devices


def test_check() -> None:
    config = model_config.ModelConfig(name="m")
    config.instance_group.add(name="m_0", kind=model_config.ModelInstanceGroup.KIND_GPU, gpus=[0, 3])
    devices.check(config, [0, 3])
    with pytest.raises(ServerError, match="unsupported gpu id 3"):
        devices.check(config, [0])
    del config.instance_group[0].gpus[:]
    with pytest.raises(ServerError, match="GPUs available to this server: none"):
        devices.check(config, [])
