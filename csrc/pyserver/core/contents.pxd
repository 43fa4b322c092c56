# The typed lists of an InferTensorContents.

from pyserver.core.fields cimport Cursor
from pyserver.core.sink cimport Sink
from pyserver.core.tensor cimport Kind


cdef class Contents:
    cdef readonly Py_ssize_t count
    cdef bytes _buffer
    cdef Kind _kind
    cdef Sink _sink


# Read the InferTensorContents at `at`, appending to `contents`.
cdef int read_contents(Cursor *cursor, Contents contents) except -1
