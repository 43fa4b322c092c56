# map<string, InferParameter>, read and written.

from pyserver.core.fields cimport Cursor
from pyserver.core.writer cimport Writer


# Read the entry at `at`, and add it to `made`.
cdef int read_parameter(Cursor *cursor, dict made) except -1

# The size of `parameters`, a dict or None, as fields with a one-byte tag.
cdef Py_ssize_t parameters_size(object parameters) except -1

# The same, written.
cdef int put_parameters(Writer *writer, unsigned char tag, object parameters) except -1
