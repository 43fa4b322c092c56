# Protobuf's wire format, written: what each thing's size is, and the thing itself.

from libc.stdint cimport uint64_t


# Where to write next, and where the room ends.
cdef struct Writer:
    char *at
    char *end


# Sizes. A negative int64 is the uint64 of the same bits, as in the format.
cdef Py_ssize_t varint_size(uint64_t value) noexcept nogil
# Of a field with a one-byte tag and `size` bytes.
cdef Py_ssize_t field_size(Py_ssize_t size) noexcept nogil
# Of a string field; 0 for "", which isn't sent.
cdef Py_ssize_t text_size(object text) except -1
# Of the numbers of a packed list of int64.
cdef Py_ssize_t numbers_size(object numbers) except -1
# Of a buffer.
cdef Py_ssize_t buffer_size(object buffer) except -1

# The same, written. ValueError, and nothing past `end` written, where there is less room than its size was.
cdef int put_varint(Writer *writer, uint64_t value) except -1
cdef int put_bytes(Writer *writer, const void *data, Py_ssize_t size) except -1
# The head of a field of `size` bytes.
cdef int put_head(Writer *writer, unsigned char tag, Py_ssize_t size) except -1
# A string field, also an empty one.
cdef int put_string(Writer *writer, unsigned char tag, object text) except -1
cdef int put_text(Writer *writer, unsigned char tag, object text) except -1
cdef int put_numbers(Writer *writer, object numbers) except -1
cdef int put_buffer(Writer *writer, object buffer) except -1
