"""What a codec may complain about."""

from __future__ import annotations

from typing import Iterable, Optional

from mlserver.errors import MLServerError


class CodecNotFound(MLServerError):  # noqa: N818
    """No codec for this."""

    def __init__(
        self,
        name: Optional[str] = None,
        payload_type: Optional[str] = None,
        is_input: bool = False,
        is_request: bool = False,
    ) -> None:
        level = "request" if is_request else "input" if is_input else "output"
        which = f" '{name}'" if name else ""
        of = f" of type {payload_type}" if payload_type else ""
        super().__init__(f"Codec not found for {level}{which}{of}")


class CodecError(MLServerError):
    """A codec can't take what it got."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)


class OutputNotFound(MLServerError):  # noqa: N818
    """A function returned what its hints don't say."""

    def __init__(self, output_idx: int, output_type: type, output_hints: Iterable[object]) -> None:
        expected = ", ".join(f"'{hint}'" for hint in output_hints)
        super().__init__(f"Output {output_idx} of type '{output_type}' is none of the declared types: {expected}")


class InputsNotFound(MLServerError):  # noqa: N818
    """A request has an input that the function doesn't take, or lacks one that it does."""

    def __init__(self, inputs: Iterable[object], available: Iterable[str]) -> None:
        names = [f"'{getattr(found, 'name', found)}'" for found in inputs]
        what, verb = ("Input", "was") if len(names) == 1 else ("Inputs", "were")
        known = ", ".join(f"'{name}'" for name in available)
        super().__init__(f"{what} {', '.join(names)} {verb} not found. Available inputs are {known}.")
