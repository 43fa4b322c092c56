# The arrays under `data`: JSON elements to raw layout.

from pyserver.core.reader cimport Reader
from pyserver.core.tensor cimport Kind


cdef class JsonData:
    cdef readonly str datatype
    cdef readonly Py_ssize_t count
    cdef readonly bint nested
    cdef readonly bytes buffer
    # Where the array stands in the document, brackets and all.
    cdef readonly Py_ssize_t start, end
    # Until the datatype is known: the array's text, and a reader's place at its start.
    cdef bytes _text
    cdef Reader _reader


# Read the array at `at` as elements of `kind`, for the object that has `members` so far.
cdef JsonData read_data(Reader *reader, Kind kind, dict members)

# The same, but the elements alone; None unless there are `count`.
cdef bytes read_elements(Reader *reader, Kind kind, Py_ssize_t count)

# Step over the array at `at`, whose datatype isn't known yet.
cdef int skip_data(Reader *reader) except -1

# What stands from `start` to `at`, to be scanned when its datatype is known.
cdef JsonData keep_data(Reader *reader, const unsigned char *start)
