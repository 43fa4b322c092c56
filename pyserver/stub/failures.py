"""An exception of a model's code, in the words that clients know from Triton, and in full for the log."""

from __future__ import annotations

import os
import traceback
from typing import Any

_OURS = (os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen importlib")
_MOST_FRAMES = 40


def describe(error: BaseException) -> str:
    """`<Type>: <message>`, then the places of the model's code it came through, the innermost first."""
    text = f"{type(error).__name__}: {_message(error)}"
    frames = [frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if not _is_ours(frame)]
    if not frames:
        return text
    return f"{text}\n\nAt:\n" + "".join(_shortened([f"  {f.filename}({f.lineno}): {f.name}\n" for f in frames]))


def full(error: BaseException) -> str:
    """The traceback as Python prints it, from the model's first frame on; without frames if it never got there."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OURS):
        first = first.tb_next
    return "".join(traceback.format_exception(type(error), error, first))


def report(error: BaseException) -> dict[str, Any]:
    """Both, as the cold messages carry them."""
    return {"error": describe(error), "traceback": full(error)}


def _message(error: BaseException) -> str:
    try:
        return str(error) or "<EMPTY MESSAGE>"
    except Exception as broken:
        return f"<its __str__ raised {type(broken).__name__}>"


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(_OURS)


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_FRAMES:
        return lines
    half = _MOST_FRAMES // 2
    return [*lines[:half], f"  ... {len(lines) - 2 * half} more\n", *lines[-half:]]
