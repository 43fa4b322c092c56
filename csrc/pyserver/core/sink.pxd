# A bytes object that grows while it is written, and is handed out without a copy.
#
# open_sink -> reserve, then write at data + used and advance used, as often as needed -> close_sink or drop_sink.

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *text, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **made, Py_ssize_t size) except -1
    char *bytes_data "PyBytes_AS_STRING"(PyObject *made) nogil


cdef struct Sink:
    PyObject *made  # owned; NULL when closed
    char *data
    Py_ssize_t used
    Py_ssize_t capacity
    bint nested  # an array stands in the array that is read


cdef inline int open_sink(Sink *sink, Py_ssize_t capacity) except -1:
    sink.made = NULL
    sink.used = 0
    sink.nested = False
    # Sizes 0 and 1 are shared singletons, not to be written.
    sink.capacity = capacity if capacity > 16 else 16
    sink.made = new_bytes(NULL, sink.capacity)
    sink.data = bytes_data(sink.made)
    return 0


cdef inline int grow(Sink *sink, Py_ssize_t more) except -1:
    cdef Py_ssize_t size
    if more > PY_SSIZE_T_MAX - sink.used:
        raise MemoryError
    size = sink.used + more
    if sink.capacity <= PY_SSIZE_T_MAX // 2 and size < 2 * sink.capacity:
        size = 2 * sink.capacity
    _PyBytes_Resize(&sink.made, size)
    sink.data = bytes_data(sink.made)
    sink.capacity = size
    return 0


# Make room for `more` bytes at data + used.
cdef inline int reserve(Sink *sink, Py_ssize_t more) except -1:
    if sink.capacity - sink.used < more:
        grow(sink, more)
    return 0


# What was written. The sink is closed, also when memory runs out.
cdef inline bytes close_sink(Sink *sink):
    _PyBytes_Resize(&sink.made, sink.used)
    made = <bytes>sink.made
    Py_XDECREF(sink.made)
    sink.made = NULL
    return made


cdef inline void drop_sink(Sink *sink) noexcept:
    Py_XDECREF(sink.made)
    sink.made = NULL
