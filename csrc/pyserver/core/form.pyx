"""Documents of a form that was seen before: all but the elements is compared, not read."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from pyserver.core.data cimport JsonData, read_elements
from pyserver.core.reader cimport Reader
from pyserver.core.tensor cimport Kind, kind_of

from pyserver.core.reader import JsonError


cdef class JsonForm:
    """What stands around the `data` arrays of a document that `loads` has read."""

    cdef list _pieces
    cdef list _arrays

    def __init__(self, body, arrays):
        """The form of the document `body`, whose `arrays` (JsonData, in their order) vary.

        ValueError for one that was not read, or has arrays in it.
        """
        cdef Py_ssize_t at = 0
        view = memoryview(body)
        self._pieces = []
        self._arrays = []
        for array in arrays:
            if array.nested or not array.datatype:
                raise ValueError("expected the flat elements of a known datatype")
            self._pieces.append(bytes(view[at : array.start]))
            self._arrays.append((<object><int>kind_of(array.datatype), array.count))
            at = array.end
        self._pieces.append(bytes(view[at:]))

    def fill(self, body, Py_ssize_t max_bytes):
        """The elements in each array of `body`, in raw layout; None unless it is a document of this form, with as many.

        It then is what `loads` would take. No array may fill more than `max_bytes`.
        """
        cdef Py_buffer view
        cdef Reader reader
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
        try:
            reader.start = reader.at = <const unsigned char *>view.buf
            reader.end = reader.start + view.len
            reader.base = 0
            reader.values = 0
            reader.max_bytes = max_bytes
            return self._fill(&reader)
        except JsonError:
            return None
        finally:
            PyBuffer_Release(&view)

    cdef list _fill(self, Reader *reader):
        cdef list buffers = []
        cdef Py_ssize_t n, count
        cdef int kind
        for n in range(len(self._arrays)):
            if not skip_piece(reader, <bytes>self._pieces[n]) or reader.at == reader.end or reader.at[0] != c"[":
                return None
            # No array in the array.
            reader.levels = reader.max_depth = 1
            kind, count = <tuple>self._arrays[n]
            buffer = read_elements(reader, <Kind>kind, count)
            if buffer is None:
                return None
            buffers.append(buffer)
        ended = skip_piece(reader, <bytes>self._pieces[len(self._arrays)]) and reader.at == reader.end
        return buffers if ended else None


cdef bint skip_piece(Reader *reader, bytes piece) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    if reader.end - reader.at < size or memcmp(reader.at, PyBytes_AS_STRING(piece), size) != 0:
        return False
    reader.at += size
    return True
