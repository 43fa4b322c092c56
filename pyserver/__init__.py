"""pyserver: a model server for Triton Python-backend repositories and MLServer folders."""

__version__ = "0.1.0"
