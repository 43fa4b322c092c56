"""Protobuf's wire format, written. For `pyserver.core.wire`.

What is written is measured first, so that a message needs one allocation. Should something change in between (another
thread, a buffer with a will of its own), the message is refused; no byte goes past its end.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef extern from *:
    int leading_zeros "__builtin_clzll"(uint64_t) nogil

cdef enum:
    # Copied without the GIL from here on.
    LARGE = 128 * 1024
    BOOL_PARAM = 1 << 3
    INT64_PARAM = 2 << 3
    STRING_PARAM = 3 << 3 | 2
    DOUBLE_PARAM = 4 << 3 | 1
    UINT64_PARAM = 5 << 3


cdef Py_ssize_t varint_size(uint64_t value) noexcept nogil:
    return 1 + (63 - leading_zeros(value | 1)) // 7


cdef Py_ssize_t field_size(Py_ssize_t size) noexcept nogil:
    return 1 + varint_size(size) + size


cdef Py_ssize_t text_size(object text) except -1:
    cdef Py_ssize_t size
    PyUnicode_AsUTF8AndSize(text, &size)
    return field_size(size) if size else 0


cdef Py_ssize_t buffer_size(object buffer) except -1:
    cdef Py_buffer view
    cdef Py_ssize_t size
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    size = view.len
    PyBuffer_Release(&view)
    return size


cdef Py_ssize_t numbers_size(object numbers) except -1:
    cdef Py_ssize_t size = 0
    cdef int64_t number
    for item in numbers:
        number = item
        size += varint_size(<uint64_t>number)
    return size


cdef Py_ssize_t parameters_size(object parameters) except -1:
    cdef Py_ssize_t size = 0
    if parameters is not None:
        for key, value in (<dict?>parameters).items():
            size += field_size(entry_size(key, value))
    return size


cdef Py_ssize_t entry_size(object key, object value) except -1:
    """Of one entry of a map: key and value are always sent."""
    return max(text_size(key), 2) + field_size(choice_size(key, value))


cdef Py_ssize_t choice_size(object key, object value) except -1:
    """Of an InferParameter."""
    if isinstance(value, bool):
        return 2
    if isinstance(value, int):
        return 1 + varint_size(integer_bits(key, value, NULL))
    if isinstance(value, float):
        return 9
    if isinstance(value, str):
        return max(text_size(value), 2)
    raise ValueError(f"parameter '{key}' has type {type(value).__name__}, expected bool, int, float or str")


cdef uint64_t integer_bits(object key, object value, bint *is_signed) except? 0:
    """The bits of an int64, or of a uint64 if it doesn't fit that."""
    cdef int overflow
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if is_signed is not NULL:
        is_signed[0] = not overflow
    if not overflow:
        return <uint64_t>number
    if overflow < 0 or value > 0xFFFFFFFFFFFFFFFF:
        raise OverflowError(f"parameter '{key}' is {value}, expected -2^63 to 2^64-1")
    return PyLong_AsUnsignedLongLong(value)


cdef inline int check_room(Writer *writer, Py_ssize_t size) except -1:
    if size > writer.end - writer.at:
        raise ValueError("what is encoded has changed meanwhile")
    return 0


cdef int put_varint(Writer *writer, uint64_t value) except -1:
    check_room(writer, varint_size(value))
    while value >= 0x80:
        writer.at[0] = <char>(value | 0x80)
        writer.at += 1
        value >>= 7
    writer.at[0] = <char>value
    writer.at += 1
    return 0


cdef int put_bytes(Writer *writer, const void *data, Py_ssize_t size) except -1:
    check_room(writer, size)
    if size < LARGE:
        memcpy(writer.at, data, size)
    else:
        with nogil:
            memcpy(writer.at, data, size)
    writer.at += size
    return 0


cdef int put_head(Writer *writer, unsigned char tag, Py_ssize_t size) except -1:
    put_varint(writer, tag)
    return put_varint(writer, size)


cdef int put_string(Writer *writer, unsigned char tag, object text) except -1:
    """Also an empty one."""
    cdef Py_ssize_t size
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    put_head(writer, tag, size)
    return put_bytes(writer, data, size)


cdef int put_text(Writer *writer, unsigned char tag, object text) except -1:
    return put_string(writer, tag, text) if text else 0


cdef int put_numbers(Writer *writer, object numbers) except -1:
    cdef int64_t number
    for item in numbers:
        number = item
        put_varint(writer, <uint64_t>number)
    return 0


cdef int put_buffer(Writer *writer, object buffer) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        return put_bytes(writer, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef int put_parameters(Writer *writer, unsigned char tag, object parameters) except -1:
    if parameters is not None:
        for key, value in (<dict?>parameters).items():
            put_head(writer, tag, entry_size(key, value))
            put_string(writer, 1 << 3 | 2, key)
            put_head(writer, 2 << 3 | 2, choice_size(key, value))
            put_choice(writer, key, value)
    return 0


cdef int put_choice(Writer *writer, object key, object value) except -1:
    cdef double number
    cdef uint64_t bits
    cdef bint is_signed
    if isinstance(value, bool):
        return put_head(writer, BOOL_PARAM, value is True)
    if isinstance(value, int):
        bits = integer_bits(key, value, &is_signed)
        put_varint(writer, INT64_PARAM if is_signed else UINT64_PARAM)
        return put_varint(writer, bits)
    if isinstance(value, float):
        number = value
        put_varint(writer, DOUBLE_PARAM)
        return put_bytes(writer, &number, 8)
    return put_string(writer, STRING_PARAM, value)
