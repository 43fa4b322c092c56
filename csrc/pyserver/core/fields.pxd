# Protobuf's wire format, field by field.

from libc.stdint cimport uint64_t


cdef enum WireType:
    VARINT = 0
    I64 = 1
    LEN = 2
    I32 = 5


# A place in a message. `end` is where the innermost message begun ends.
cdef struct Cursor:
    const unsigned char *start
    const unsigned char *at
    const unsigned char *end
    Py_ssize_t items  # how many more Python objects may be made


# Raise the WireError about what stands at `at`.
cdef int fail(Cursor *cursor, str reason, const unsigned char *at) except -1

# Read a varint of more than one byte.
cdef uint64_t read_long_varint(Cursor *cursor) except? 0xFFFFFFFFFFFFFFFF

cdef inline uint64_t read_varint(Cursor *cursor) except? 0xFFFFFFFFFFFFFFFF:
    cdef const unsigned char *at = cursor.at
    if at < cursor.end and at[0] < 0x80:
        cursor.at += 1
        return at[0]
    return read_long_varint(cursor)

# Read field number << 3 | wire type.
cdef unsigned int read_tag(Cursor *cursor) except 0

# Read a length; that many bytes are there.
cdef Py_ssize_t read_length(Cursor *cursor) except -1

# Read a length, and go into the message of that length: `end` becomes its end. The old one is returned.
cdef const unsigned char *enter(Cursor *cursor) except NULL

# `size` bytes, copied to `value`.
cdef int read_fixed(Cursor *cursor, void *value, Py_ssize_t size) except -1

# Read a string field.
cdef str read_text(Cursor *cursor)

# Step over a field that isn't known; WireError if one below `known` has come with another wire type than its own.
cdef int skip(Cursor *cursor, unsigned int tag, unsigned int known) except -1

# One more object: WireError when there are too many.
cdef int count_item(Cursor *cursor) except -1
