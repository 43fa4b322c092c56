"""The key of a request: 256 bits over everything that its answer may depend on.

Every part is hashed behind its length, so that no two requests run together into the same bytes. Of different requests
only those with equal digests would be confused, and nobody finds two of those.
"""

from __future__ import annotations

from hashlib import blake2b

from pyserver.types import InferRequest

KEY_BYTES = 32


def key_of(salt: bytes, request: InferRequest) -> bytes:
    """The key of a checked request; `salt` tells the model, its version and what it was loaded from.

    Inputs, parameters and requested outputs count by name, not by their order. Its id, priority and time-out don't
    count: they say nothing about the answer.
    """
    described = repr((
        sorted((tensor.name, tensor.datatype, tensor.shape, len(tensor.data)) for tensor in request.inputs),
        sorted((name, type(value).__name__, value) for name, value in request.parameters.items()),
        None if request.outputs is None else sorted({output.name for output in request.outputs}),
        request.correlation_id,
        request.flags,
    )).encode("utf-8", "surrogatepass")  # fmt: skip
    digest = blake2b(salt, digest_size=KEY_BYTES)
    digest.update(b"%d:%d:" % (len(salt), len(described)))
    digest.update(described)
    for tensor in sorted(request.inputs, key=_name):
        digest.update(tensor.data)
    return digest.digest()


def _name(tensor: object) -> str:
    name: str = tensor.name  # type: ignore[attr-defined]
    return name
