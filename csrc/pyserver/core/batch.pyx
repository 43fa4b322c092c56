"""Rows of several requests side by side in one block, and a block's rows back to each."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.string cimport memcpy

from pyserver.core.bytes cimport Walk, refuse, walk_elements
from pyserver.core.tensor cimport flat

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX


cdef enum:
    # Below this many bytes, giving the GIL away costs more than it frees.
    LARGE = 128 * 1024


cdef Py_ssize_t copy(Py_buffer *destination, Py_ssize_t offset, object source) except -1:
    """Copy all of `source`; its size. ValueError if it doesn't fit."""
    cdef Py_buffer view
    cdef Py_ssize_t size
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    try:
        size = view.len
        if offset < 0 or offset > destination.len or size > destination.len - offset:
            raise ValueError(f"{size} bytes at {offset} don't fit into {destination.len}")
        if size < LARGE:
            memcpy(<char *>destination.buf + offset, view.buf, size)
        else:
            with nogil:
                memcpy(<char *>destination.buf + offset, view.buf, size)
    finally:
        PyBuffer_Release(&view)
    return size


def copy_into(destination, Py_ssize_t offset, source):
    """Copy all bytes of `source` to `offset` of a writable buffer; their number. ValueError if they don't fit."""
    cdef Py_buffer view
    PyObject_GetBuffer(destination, &view, PyBUF_WRITABLE)
    try:
        return copy(&view, offset, source)
    finally:
        PyBuffer_Release(&view)


def gather(destination, Py_ssize_t offset, buffers):
    """Copy all `buffers`, one behind the other, to `offset` of a writable buffer; the number of bytes.

    ValueError if they don't fit; those that do have been copied then.
    """
    cdef Py_buffer view
    cdef Py_ssize_t at = offset
    PyObject_GetBuffer(destination, &view, PyBUF_WRITABLE)
    try:
        for source in buffers:
            at += copy(&view, at, source)
    finally:
        PyBuffer_Release(&view)
    return at - offset


def split_rows(data, Py_ssize_t row_size, rows):
    """Views of consecutive parts of `data`, the n-th of `rows[n]` rows of `row_size` bytes.

    ValueError unless the rows are exactly all of `data`.
    """
    cdef memoryview view = flat(data)
    cdef Py_ssize_t end = PyMemoryView_GET_BUFFER(view).len, at = 0, left, count
    cdef list made = []
    if row_size < 0:
        raise ValueError(f"row size is {row_size}, expected 0 or more")
    left = end // row_size if row_size else PY_SSIZE_T_MAX
    for item in rows:
        if item < 0 or item > left:
            raise ValueError(f"{list(rows)} rows of {row_size} bytes don't fill {end} bytes")
        count = item
        left -= count
        made.append(view[at : at + count * row_size])
        at += count * row_size
    if at != end:
        raise ValueError(f"{list(rows)} rows of {row_size} bytes don't fill {end} bytes")
    return made


def split_elements(data, counts):
    """Views of consecutive parts of `data`, BYTES elements, the n-th of `counts[n]` elements.

    `pyserver.core.bytes.ElementsError` where an element isn't all there, ValueError if bytes are left over.
    """
    cdef memoryview view = flat(data)
    cdef const unsigned char *start = <const unsigned char *>PyMemoryView_GET_BUFFER(view).buf
    cdef Py_ssize_t end = PyMemoryView_GET_BUFFER(view).len, at = 0, size, count
    cdef Walk walk
    cdef list made = []
    for item in counts:
        if item < 0:
            raise ValueError(f"count is {item}, expected 0 or more")
        count = item
        size = walk_elements(start + at, end - at, count, &walk)
        if size < 0:
            refuse(&walk)
        made.append(view[at : at + size])
        at += size
    if at != end:
        raise ValueError(f"{list(counts)} elements end at byte {at} of {end}")
    return made
