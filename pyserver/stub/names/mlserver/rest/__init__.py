"""Answers of custom handlers."""
