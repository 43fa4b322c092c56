"""The tensor core: compiled leaves that know bytes, shapes, datatypes and addresses, and nothing of a server.

For the rest of the house: `tensor` (datatypes, sizes, views), `bytes` (BYTES elements), `batch` (rows of several
requests in one block), `json` (requests and tensors in JSON), `wire` (ModelInfer's messages), `records` (what goes to
and comes from a stub with every request), `heap` (what the C library keeps). What else there is serves these seven.
The sources are in csrc/pyserver/core. Importing any module of it where it has not been built says what to run.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("pyserver.core.tensor") is None:
    raise ImportError(
        "pyserver's compiled modules are missing: run 'pip install .' in the checkout"
        " (or 'python setup.py build_ext --inplace' to work in it); a C compiler is all that is needed"
    )
