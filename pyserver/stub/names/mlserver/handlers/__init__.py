"""Handlers of a model's own: methods that answer REST routes while the model is loaded."""

from mlserver.handlers.custom import CustomHandler, custom_handler, get_custom_handlers

__all__ = ["CustomHandler", "custom_handler", "get_custom_handlers"]
