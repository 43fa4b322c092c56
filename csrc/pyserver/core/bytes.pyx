"""BYTES elements: each its length in 4 bytes, little-endian, and then its bytes (spec 1.5)."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport UINT32_MAX, uint32_t
from libc.string cimport memcpy


cdef tuple _FAULTS = ("", "few", "many", "length", "data")


class ElementsError(ValueError):
    """The bytes aren't the elements expected.

    `kind` is `few` or `many` (`expected` and `found` count elements; of too many, only the first is counted), `length`
    (a length is cut), or `data` (element `element` should have `expected` bytes, `found` are there).
    """

    def __init__(self, kind, element, expected, found):
        """The fields as above."""
        super().__init__(_message(kind, element, expected, found))
        self.kind = kind
        self.element = element
        self.expected = expected
        self.found = found


def _message(kind, element, expected, found):
    if kind == "few":
        return f"expected {expected} string elements, got {found}"
    if kind == "many":
        return f"unexpected number of string elements {found}, expecting {expected}"
    if kind == "length":
        return f"incomplete string length indicator of element {element}, expecting 4 bytes but only {found} available"
    return (
        f"incomplete string data of element {element},"
        f" expecting string of length {expected} but only {found} bytes available"
    )


cdef int fault(Walk *walk, Fault kind, Py_ssize_t element, Py_ssize_t expected, Py_ssize_t found) noexcept nogil:
    walk.fault, walk.element, walk.expected, walk.found = kind, element, expected, found
    return -1


cdef Py_ssize_t walk_elements(const unsigned char *data, Py_ssize_t size, Py_ssize_t count, Walk *walk) noexcept nogil:
    cdef Py_ssize_t at = 0, element
    cdef uint32_t length
    for element in range(count):
        if size - at < 4:
            if size == at:
                return fault(walk, FEW, element, count, element)
            return fault(walk, LENGTH, element, 4, size - at)
        memcpy(&length, data + at, 4)
        at += 4
        if length > size - at:
            return fault(walk, DATA, element, length, size - at)
        at += length
    return at


cdef int refuse(Walk *walk) except -1:
    raise ElementsError(_FAULTS[<int>walk.fault], walk.element, walk.expected, walk.found)


cdef int check(const unsigned char *data, Py_ssize_t size, Py_ssize_t count) except -1:
    """ElementsError unless `data` is exactly `count` elements."""
    cdef Walk walk
    cdef Py_ssize_t end
    with nogil:
        end = walk_elements(data, size, count, &walk)
        if end >= 0 and end != size:
            if size - end < 4:
                end = fault(&walk, LENGTH, count, 4, size - end)
            else:
                end = fault(&walk, MANY, count, count, count + 1)
    return refuse(&walk) if end < 0 else 0


cdef int check_count(Py_ssize_t count) except -1:
    if count < 0:
        raise ValueError(f"count is {count}, expected 0 or more")
    return 0


def validate(data, Py_ssize_t count):
    """ElementsError unless `data` is exactly `count` elements."""
    cdef Py_buffer view
    check_count(count)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        check(<const unsigned char *>view.buf, view.len, count)
    finally:
        PyBuffer_Release(&view)


def unpack(data, Py_ssize_t count):
    """The `count` elements of `data`, each as bytes. ElementsError if it holds anything else."""
    cdef Py_buffer view
    check_count(count)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        check(<const unsigned char *>view.buf, view.len, count)
        return split(<const char *>view.buf, count)
    finally:
        PyBuffer_Release(&view)


cdef list split(const char *data, Py_ssize_t count):
    """The elements of `data`, which have been checked."""
    cdef Py_ssize_t element
    cdef uint32_t length
    cdef list made = PyList_New(count)
    for element in range(count):
        memcpy(&length, data, 4)
        item = PyBytes_FromStringAndSize(data + 4, length)
        Py_INCREF(item)
        PyList_SET_ITEM(made, element, item)
        data += 4 + <Py_ssize_t>length
    return made


cdef list elements_of(object values):
    """A new list of bytes and str: what else there is turned to bytes (buffers) or text (the rest)."""
    cdef list made
    cdef Py_ssize_t n
    cdef PyObject *item
    if type(values) is not list and hasattr(values, "dtype"):
        if values.dtype.kind not in "OSUT":
            raise ValueError(f"BYTES elements come from an array of objects, bytes or text, got dtype '{values.dtype}'")
        values = values.ravel().tolist()
    made = list(values)
    for n in range(PyList_GET_SIZE(made)):
        item = <PyObject *>PyList_GET_ITEM(made, n)
        if not isinstance(<object>item, (bytes, str)):
            value = <object>item
            made[n] = bytes(value) if isinstance(value, (bytearray, memoryview)) else str(value)
    return made


cdef inline const char *text_and_size(object element, Py_ssize_t *size) except NULL:
    if isinstance(element, bytes):
        size[0] = PyBytes_GET_SIZE(element)
        return PyBytes_AS_STRING(element)
    return PyUnicode_AsUTF8AndSize(element, size)


cdef Py_ssize_t size_of_elements(list elements) except -1:
    cdef Py_ssize_t total = 0, size, n
    for n in range(PyList_GET_SIZE(elements)):
        text_and_size(<object>PyList_GET_ITEM(elements, n), &size)
        if size > <Py_ssize_t>UINT32_MAX:
            raise OverflowError(f"element {n} has {size} bytes, BYTES elements have at most {UINT32_MAX}")
        total += 4 + size
    return total


cdef int write_elements(char *out, list elements) except -1:
    cdef Py_ssize_t size, n
    cdef uint32_t length
    for n in range(PyList_GET_SIZE(elements)):
        text = text_and_size(<object>PyList_GET_ITEM(elements, n), &size)
        length = <uint32_t>size
        memcpy(out, &length, 4)
        memcpy(out + 4, text, size)
        out += 4 + size
    return 0


def packed_size(values):
    """How many bytes `pack` would return for the same values; errors as `pack`."""
    return size_of_elements(elements_of(values))


def pack(values):
    """The elements of `values`, an iterable or an ndarray of objects, bytes or text (row-major), in raw layout.

    bytes and other buffers as they are, text as UTF-8, any other object as the text `str` makes of it (as Triton's
    own clients do). ValueError for text with lone surrogates, OverflowError for an element of 4 GiB or more.
    """
    cdef list elements = elements_of(values)
    made = PyBytes_FromStringAndSize(NULL, size_of_elements(elements))
    write_elements(PyBytes_AS_STRING(made), elements)
    return made


def pack_into(destination, Py_ssize_t offset, values):
    """As `pack`, written to a writable buffer at `offset`; the number of bytes written.

    ValueError, and nothing written, if there is no room.
    """
    cdef Py_buffer view
    cdef list elements = elements_of(values)
    cdef Py_ssize_t size = size_of_elements(elements)
    PyObject_GetBuffer(destination, &view, PyBUF_WRITABLE)
    try:
        if offset < 0 or offset > view.len or size > view.len - offset:
            raise ValueError(f"{size} bytes at {offset} don't fit into {view.len}")
        write_elements(<char *>view.buf + offset, elements)
    finally:
        PyBuffer_Release(&view)
    return size
