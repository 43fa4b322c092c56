"""Answers kept for requests that come again: in this process, or in Redis."""
