"""The hot records of `pyserver.ipc.messages`, read and packed without a detour through tuples of fields.

What is not an ordinary message is left to the functions there, which are also the reference in the tests.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Append
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from pyserver.ipc import messages

cdef enum:
    EXECUTE = 3
    RESPONSE = 19
    EXECUTED = 20
    ANSWERED = 23
    ROWS = 24
    MOST_ROWS = 1 << 16
    # More tensors than that are no ordinary message.
    MOST_TENSORS = 64


cdef packed struct Header:
    uint32_t kind
    uint32_t length


cdef packed struct Response:
    uint64_t key
    unsigned char code
    unsigned char flags
    uint16_t tensors
    uint32_t layout_size
    uint32_t extras_size
    uint32_t padding


cdef packed struct Executed:
    uint64_t payload
    uint64_t started_ns
    uint64_t input_ns
    uint64_t infer_ns
    uint64_t output_ns


cdef packed struct Answered:
    uint64_t payload
    uint64_t key
    uint64_t started_ns
    uint64_t input_ns
    uint64_t infer_ns
    uint64_t output_ns
    uint32_t tensors
    uint32_t layout_size


cdef packed struct Rows:
    uint64_t key
    uint64_t offset
    uint32_t size
    uint32_t count
    uint32_t layout_size
    uint32_t padding


cdef packed struct ExecuteOne:
    uint32_t kind
    uint32_t length
    uint64_t payload
    uint32_t requests
    uint32_t padding
    uint64_t key
    uint32_t slot
    uint32_t tensors
    uint32_t layout_size
    uint32_t extras_size


# The layout read last: most responses have that of the one before, whose hash is known already.
cdef bytes _last = b""


def from_stub(bytes message not None):
    """As `messages.from_stub`."""
    cdef const char *at = PyBytes_AS_STRING(message)
    cdef const char *end = at + PyBytes_GET_SIZE(message)
    cdef Header header
    cdef list records = []
    cdef tuple record
    while at < end:
        if end - at < 8:
            return messages.from_stub(message)
        memcpy(&header, at, 8)
        at += 8
        if header.length > end - at:
            return messages.from_stub(message)
        record = None
        if header.kind == ANSWERED:
            record = answered(at, header.length)
        elif header.kind == RESPONSE:
            record = response(at, header.length)
        elif header.kind == EXECUTED:
            record = executed(at, header.length)
        elif header.kind == ROWS:
            record = rows(at, header.length)
        if record is None:
            return messages.from_stub(message)
        PyList_Append(records, record)
        at += (header.length + 7) & ~<Py_ssize_t>7
    return records


cdef tuple response(const char *at, Py_ssize_t length):
    """A RESPONSE's record; None if it is broken, or no ordinary one."""
    cdef Response fields
    cdef Py_ssize_t windows_size
    if length < <Py_ssize_t>sizeof(Response):
        return None
    memcpy(&fields, at, sizeof(Response))
    windows_size = 16 * <Py_ssize_t>fields.tensors
    if fields.tensors > MOST_TENSORS:
        return None
    if <Py_ssize_t>sizeof(Response) + windows_size + fields.layout_size + fields.extras_size != length:
        return None
    at += sizeof(Response)
    windows = integers(at, 2 * fields.tensors)
    at += windows_size
    layout = remembered(at, fields.layout_size)
    extras = PyBytes_FromStringAndSize(at + fields.layout_size, fields.extras_size) if fields.extras_size else b""
    return RESPONSE, fields.key, <int>fields.code, <int>fields.flags, layout, windows, extras


cdef tuple executed(const char *at, Py_ssize_t length):
    cdef Executed fields
    if length != <Py_ssize_t>sizeof(Executed):
        return None
    memcpy(&fields, at, sizeof(Executed))
    return EXECUTED, fields.payload, fields.started_ns, fields.input_ns, fields.infer_ns, fields.output_ns


cdef tuple answered(const char *at, Py_ssize_t length):
    cdef Answered fields
    cdef Py_ssize_t windows_size
    if length < <Py_ssize_t>sizeof(Answered):
        return None
    memcpy(&fields, at, sizeof(Answered))
    windows_size = 16 * <Py_ssize_t>fields.tensors
    if fields.tensors > MOST_TENSORS or <Py_ssize_t>sizeof(Answered) + windows_size + fields.layout_size != length:
        return None
    at += sizeof(Answered)
    return (
        ANSWERED, fields.payload, fields.key, remembered(at + windows_size, fields.layout_size),
        integers(at, 2 * fields.tensors), fields.started_ns, fields.input_ns, fields.infer_ns, fields.output_ns,
    )


cdef tuple rows(const char *at, Py_ssize_t length):
    cdef Rows fields
    if length < <Py_ssize_t>sizeof(Rows):
        return None
    memcpy(&fields, at, sizeof(Rows))
    if not 0 < fields.count <= MOST_ROWS or <Py_ssize_t>sizeof(Rows) + fields.layout_size != length:
        return None
    layout = remembered(at + sizeof(Rows), fields.layout_size)
    return ROWS, fields.key, fields.count, layout, fields.offset, fields.size


cdef tuple integers(const char *at, Py_ssize_t count):
    cdef uint64_t first, second
    if count == 2:
        memcpy(&first, at, 8)
        memcpy(&second, at + 8, 8)
        return first, second
    made = []
    for _ in range(count):
        memcpy(&first, at, 8)
        PyList_Append(made, first)
        at += 8
    return tuple(made)


cdef bytes remembered(const char *at, Py_ssize_t size):
    global _last
    if PyBytes_GET_SIZE(_last) != size or memcmp(PyBytes_AS_STRING(_last), at, size):
        _last = PyBytes_FromStringAndSize(at, size)
    return _last


def pack_execute_one(
    uint64_t payload, uint64_t key, uint32_t slot, bytes layout not None, tuple windows not None,
    bytes extras not None = b"",
):
    """As `messages.pack_execute_one`."""
    cdef ExecuteOne fields
    cdef Py_ssize_t size = PyBytes_GET_SIZE(layout), count = len(windows)
    cdef uint64_t window
    cdef bytes record
    cdef char *at
    if extras or count & 1 or size & 7 or count > 2 * MOST_TENSORS:
        return messages.pack_execute_one(payload, key, slot, layout, windows, extras)
    fields.kind = EXECUTE
    fields.length = <uint32_t>(40 + 8 * count + size)
    fields.payload, fields.requests, fields.padding = payload, 1, 0
    fields.key, fields.slot = key, slot
    fields.tensors, fields.layout_size, fields.extras_size = <uint32_t>(count >> 1), <uint32_t>size, 0
    record = PyBytes_FromStringAndSize(NULL, sizeof(ExecuteOne) + 8 * count + size)
    at = PyBytes_AS_STRING(record)
    memcpy(at, &fields, sizeof(ExecuteOne))
    at += sizeof(ExecuteOne)
    for item in windows:
        window = item
        memcpy(at, &window, 8)
        at += 8
    memcpy(at, PyBytes_AS_STRING(layout), size)
    return record
