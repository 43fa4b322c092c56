"""The name under which Triton's native classes are imported by some models."""

from triton_python_backend_utils import *  # type: ignore[import-not-found]  # noqa: F403
