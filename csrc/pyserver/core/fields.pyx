"""Protobuf's wire format, field by field. For `pyserver.core.wire`.

Stricter than protobuf's own parsers: a known field with another wire type than its own is an error, not unknown, and
so are groups, which V2 doesn't have.
"""

from libc.string cimport memcpy

from pyserver.core.text cimport invalid_at, text_of


class WireError(ValueError):
    """The bytes are not the message: `reason`, at byte `offset`."""

    def __init__(self, reason, offset):
        """`reason` says what was got and expected."""
        super().__init__(f"{reason} at byte {offset}")
        self.reason = reason
        self.offset = offset


cdef int fail(Cursor *cursor, str reason, const unsigned char *at) except -1:
    raise WireError(reason, at - cursor.start)


cdef uint64_t read_long_varint(Cursor *cursor) except? 0xFFFFFFFFFFFFFFFF:
    cdef const unsigned char *first = cursor.at
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef unsigned char found
    while cursor.at < cursor.end:
        found = cursor.at[0]
        cursor.at += 1
        if shift == 63 and found > 1:
            fail(cursor, "varint of more than 64 bits", first)
        value |= <uint64_t>(found & 0x7F) << shift
        if found < 0x80:
            return value
        shift += 7
    fail(cursor, "varint is cut", first)
    return 0


cdef unsigned int read_tag(Cursor *cursor) except 0:
    cdef const unsigned char *first = cursor.at
    cdef uint64_t tag = read_varint(cursor)
    if not 8 <= tag <= 0xFFFFFFFF:
        fail(cursor, f"field number is {tag >> 3}, expected 1 to 536870911", first)
    return <unsigned int>tag


cdef Py_ssize_t read_length(Cursor *cursor) except -1:
    cdef const unsigned char *first = cursor.at
    cdef uint64_t length = read_varint(cursor)
    if length > <uint64_t>(cursor.end - cursor.at):
        fail(cursor, f"length is {length}, but only {cursor.end - cursor.at} bytes are left", first)
    return <Py_ssize_t>length


cdef const unsigned char *enter(Cursor *cursor) except NULL:
    cdef const unsigned char *outer = cursor.end
    cdef Py_ssize_t length = read_length(cursor)
    cursor.end = cursor.at + length
    return outer


cdef int read_fixed(Cursor *cursor, void *value, Py_ssize_t size) except -1:
    if cursor.end - cursor.at < size:
        fail(cursor, f"expected {size} bytes, but only {cursor.end - cursor.at} are left", cursor.at)
    memcpy(value, cursor.at, size)
    cursor.at += size
    return 0


cdef str read_text(Cursor *cursor):
    cdef Py_ssize_t length = read_length(cursor)
    cdef const unsigned char *text = cursor.at
    cdef Py_ssize_t bad = invalid_at(text, length)
    if bad >= 0:
        fail(cursor, "string isn't UTF-8", text + bad)
    cursor.at += length
    return text_of(text, length)


cdef int skip(Cursor *cursor, unsigned int tag, unsigned int known) except -1:
    cdef uint64_t value
    cdef unsigned int wire_type = tag & 7
    if tag >> 3 < known:
        fail(cursor, f"field {tag >> 3} has wire type {wire_type}, which isn't its own, before", cursor.at)
    if wire_type == VARINT:
        read_varint(cursor)
    elif wire_type == I64:
        read_fixed(cursor, &value, 8)
    elif wire_type == LEN:
        cursor.at += read_length(cursor)
    elif wire_type == I32:
        read_fixed(cursor, &value, 4)
    else:
        fail(cursor, f"field {tag >> 3} has wire type {wire_type}, expected 0, 1, 2 or 5, before", cursor.at)
    return 0


cdef int count_item(Cursor *cursor) except -1:
    if cursor.items == 0:
        fail(cursor, "more tensors, parameters and contents than a message may have", cursor.at)
    cursor.items -= 1
    return 0
