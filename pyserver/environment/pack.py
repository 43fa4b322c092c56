"""Packing an environment with conda-pack, so that it can be moved."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyserver.errors import internal, invalid, unsupported

SUFFIXES = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tbz2", ".tar.xz", ".zip")


def pack(prefix: Path, output: Path, force: bool, say: Callable[[str], None], bar: bool) -> None:
    """Pack the conda environment `prefix` into `output`, whose name says how; `bar` for conda-pack's progress bar.

    ServerError if it is no environment, or one that can't be packed: conda-pack's reason.
    """
    check(prefix, output, force)
    packer = _conda_pack()
    say(f"packing {prefix} with conda-pack {packer.__version__}")
    unfinished = output.with_name(f".unfinished-{output.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packer.pack(
                prefix=str(prefix), output=str(unfinished), n_threads=-1, force=True, verbose=bar,
                ignore_missing_files=True,
            )  # fmt: skip
        unfinished.replace(output)
    except packer.CondaPackException as error:
        raise invalid(f"'{prefix}' can't be packed: {error}") from error
    except OSError as error:
        raise internal(f"'{prefix}' can't be packed into '{output}': {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def check(prefix: Path, output: Path, force: bool) -> None:
    """Raise ServerError for what can be seen beforehand."""
    if (prefix / "pyvenv.cfg").exists():
        raise invalid(
            f"'{prefix}' is a venv: its interpreter lies elsewhere and can't be packed with it. Pack a conda"
            " environment, or put a requirements.txt beside the model (--build-environments=true)"
        )
    if not (prefix / "conda-meta").is_dir():
        raise invalid(f"'{prefix}' is no conda environment: it has no conda-meta")
    if not output.name.endswith(SUFFIXES):
        raise invalid(f"'{output}': expected a name that ends with one of {', '.join(SUFFIXES)}")
    if output.exists() and not force:
        raise invalid(f"'{output}' exists: --force overwrites it")


def _conda_pack() -> Any:
    try:
        import conda_pack
    except ImportError:
        raise unsupported("packing takes conda-pack: pip install conda-pack") from None
    return conda_pack
