"""A client's shared memory object: opened by its key, read and written at offsets, never mapped.

Whoever made the object may shrink it at any moment. A process that has it mapped is then killed (SIGBUS) by the next
access, and no check before the access helps: the shrinking may come in between. `pread` and `pwrite` copy in the
kernel, which looks at the size as it goes: what is missing comes back as a short count, and becomes an error of that
request alone. It is one copy of the bytes either way. What was read is ours: the client can't change it after it was
checked.
"""

from __future__ import annotations

import os
import stat

from pyserver.errors import ErrorCode, ServerError, internal, invalid
from pyserver.types import Buffer

FOLDER = "/dev/shm"
MAX_KEY = 255
TRITON_PRIVATE = "triton_python_backend_shm_region_"
SEMAPHORES = "sem."
"""What POSIX semaphores are called in the folder: their bytes are somebody's lock."""


def file_name(key: str, prefix: str = "") -> str:
    """The name in `FOLDER` that `key` means, as `shm_open` has it: a leading slash says nothing.

    ServerError (INVALID_ARG) for a key that could name anything else than an object there, one that begins otherwise
    than `prefix`, and Triton's own objects.
    """
    name = key[1:] if key.startswith("/") else key
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or len(name.encode()) > MAX_KEY:
        raise invalid(
            f"Invalid shared memory key: '{shown(key)}', expected the name of an object: at most {MAX_KEY} bytes, "
            "printable, no slash but the first"
        )
    if name.startswith((TRITON_PRIVATE, SEMAPHORES)) or not name.startswith(prefix):
        raise invalid(f"Invalid shared memory key: '{shown(key)}', clients may not register objects of that name")
    return name


def shown(text: str) -> str:
    """`text` as an error may repeat it: short, without control characters."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= 64 else f"{plain[:61]}..."


def open_object(key: str, prefix: str = "", folder: str = FOLDER) -> int:
    """A descriptor of the object; ServerError where it is not there, is no plain file, or somebody else's.

    Somebody else's is what the server's user neither owns nor could use as anybody: a server that runs as root
    would else read and write for its clients what the system keeps from them. A `prefix` is the operator's word that
    objects of that name are meant to be shared.
    """
    name = file_name(key, prefix)
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(os.path.join(folder, name), flags)
    except OSError as error:
        raise _unopened(key, error.strerror or "") from None
    found = os.fstat(descriptor)
    everybodys = found.st_mode & 0o006 == 0o006
    if not stat.S_ISREG(found.st_mode) or not (prefix or everybodys or found.st_uid == os.geteuid()):
        os.close(descriptor)
        raise _unopened(key, "it is somebody else's" if stat.S_ISREG(found.st_mode) else "it is no shared memory")
    return descriptor


def _unopened(key: str, why: str) -> ServerError:
    return invalid(f"Unable to open shared memory region: '{shown(key)}': {why}")


def size_of(descriptor: int) -> int:
    """Bytes that the object has now."""
    return os.fstat(descriptor).st_size


def read_into(descriptor: int, view: memoryview, offset: int, name: str) -> None:
    """Fill `view` with what lies at `offset`. ServerError (INVALID_ARG) if the object ends before."""
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if not count:
            raise _shrunk(name, offset + len(view), offset + done)
        done += count


def write_from(descriptor: int, data: Buffer, offset: int, name: str) -> None:
    """Write `data` at `offset`. ServerError if the object ends before that, or the system has no memory for it.

    An object that shrinks between the look and the writing grows again, up to what was registered: nothing worse.
    """
    view = memoryview(data)
    if offset + len(view) > size_of(descriptor):
        raise _shrunk(name, offset + len(view), size_of(descriptor))
    done = 0
    while done < len(view):
        try:
            done += os.pwrite(descriptor, view[done:], offset + done)
        except OSError as error:
            raise internal(f"shared memory region '{shown(name)}' can't be written: {error.strerror}") from None


def _shrunk(name: str, needed: int, found: int) -> ServerError:
    return ServerError(
        ErrorCode.INVALID_ARG,
        f"Invalid shared memory region: '{shown(name)}' has shrunk since it was registered: "
        f"needed up to byte {needed}, it ends at {found}",
    )
