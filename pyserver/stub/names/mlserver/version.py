"""The version of MLServer whose names these are."""

__version__ = "1.7.1"
