"""Folders of models: what is there, what their configurations say, and whether that can be served.

Everything here is plain functions over files and messages; the caller runs them in a worker thread.
"""
