"""Protobuf's wire format, written. For `pyserver.core.wire`.

What is written is measured first, so that a message needs one allocation. Should something change in between (another
thread, a buffer with a will of its own), the message is refused; no byte goes past its end.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef extern from *:
    int leading_zeros "__builtin_clzll"(uint64_t) nogil

cdef enum:
    # Copied without the GIL from here on.
    LARGE = 128 * 1024


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
