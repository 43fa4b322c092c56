"""Where our answers are meant to be others than Triton's, and why. What is not in this table has to be equal."""

# ruff: noqa: E501 (a table)
from __future__ import annotations

import re
from typing import Any

from tests.parity.comparing import Difference


def says_more(ours: Any, theirs: Any) -> bool:
    """Ours has all of Triton's words in it."""
    return isinstance(ours, str) and isinstance(theirs, str) and theirs.strip() in ours


def refused(ours: Any, theirs: Any) -> bool:
    """400 where Triton says 500, or 503."""
    return ours == 400 and theirs in (500, 503)


def without_folders(ours: Any, theirs: Any) -> bool:
    """Triton's words, but for the folders of the paths in them."""
    return isinstance(theirs, str) and re.sub(r"/\S*/", "", theirs) == ours


DIFFERENCES = [
    Difference("http *", "json.error", "an error keeps Triton's words and adds what was got and expected", says_more),
    Difference("grpc *", "details", "an error keeps Triton's words and adds what was got and expected", says_more),
    Difference("http the model raises", "json.error", "an error tells no path of the server's host", without_folders),
    Difference("http bad *", "status", "a client's mistake is never a 5xx", refused),
    Difference("http live", "*", "KServe's clients read {\"live\": true}"),
    Difference("http ready", "*", "KServe's clients read {\"ready\": true}"),
    Difference("http query", "*", "as live"),
    Difference("* metadata", "*.version", "the version is our own"),
    Difference("http *", "content-type", "an empty body has no type", lambda ours, theirs: ours is None),
    Difference("http bad 24 extra", "json.error", "Triton lists required inputs as missing that are not"),
    Difference("http bad 32 header no number", "json.error", "newer Triton's rule: a header that is no number is said to be so"),
    Difference("http bad 34 cut length", "json.error", "what is missing is counted for each element"),
    Difference("http bad version no number", "*", "versions of MLServer's models may be names, so there is such a route: 400 and not 404"),
    Difference("http bad no gzip", "json.error", "Triton inflates what is no gzip to nothing, and complains of that"),
]  # fmt: skip
"""Patterns are fnmatch's; a row that explains nothing any more fails the suite."""
