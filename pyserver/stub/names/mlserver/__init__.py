"""The names that MLServer's model folders import, where their environment has no MLServer of its own."""

from mlserver.metrics import log, register
from mlserver.model import MLModel
from mlserver.server import MLServer
from mlserver.settings import ModelSettings, Settings
from mlserver.version import __version__

__all__ = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__", "log", "register"]
