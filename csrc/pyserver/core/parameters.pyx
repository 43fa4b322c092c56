"""map<string, InferParameter>, as a dict of bool, int, float and str (spec 2.2). For `pyserver.core.wire`."""

from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong
from libc.stdint cimport int64_t, uint64_t

from pyserver.core.fields cimport (
    I64, LEN, VARINT, count_item, enter, read_fixed, read_tag, read_text, read_varint, skip,
)
from pyserver.core.writer cimport field_size, put_bytes, put_head, put_string, put_varint, text_size, varint_size

# Field number << 3 | wire type.
cdef enum:
    ENTRY_KEY = 1 << 3 | LEN
    ENTRY_VALUE = 2 << 3 | LEN

    BOOL_PARAM = 1 << 3 | VARINT
    INT64_PARAM = 2 << 3 | VARINT
    STRING_PARAM = 3 << 3 | LEN
    DOUBLE_PARAM = 4 << 3 | I64
    UINT64_PARAM = 5 << 3 | VARINT


cdef int read_parameter(Cursor *cursor, dict made) except -1:
    """Add an entry of a map<string, InferParameter>."""
    cdef const unsigned char *outer = enter(cursor)
    cdef str key = ""
    cdef unsigned int tag
    count_item(cursor)
    value = None
    while cursor.at < cursor.end:
        tag = read_tag(cursor)
        if tag == ENTRY_KEY:
            key = read_text(cursor)
        elif tag == ENTRY_VALUE:
            value = read_choice(cursor, value)
        else:
            skip(cursor, tag, 3)
    made[key] = value
    cursor.end = outer
    return 0


cdef object read_choice(Cursor *cursor, object value):
    """The value in an InferParameter: the last one, `value` if there is none."""
    cdef const unsigned char *outer = enter(cursor)
    cdef unsigned int tag
    cdef double number
    while cursor.at < cursor.end:
        tag = read_tag(cursor)
        if tag == BOOL_PARAM:
            value = read_varint(cursor) != 0
        elif tag == INT64_PARAM:
            value = <int64_t>read_varint(cursor)
        elif tag == STRING_PARAM:
            value = read_text(cursor)
        elif tag == DOUBLE_PARAM:
            read_fixed(cursor, &number, 8)
            value = number
        elif tag == UINT64_PARAM:
            value = read_varint(cursor)
        else:
            skip(cursor, tag, 6)
    cursor.end = outer
    return value


cdef Py_ssize_t parameters_size(object parameters) except -1:
    cdef Py_ssize_t size = 0
    if parameters is not None:
        for key, value in (<dict?>parameters).items():
            size += field_size(entry_size(key, value))
    return size


cdef Py_ssize_t entry_size(object key, object value) except -1:
    """Of one entry of a map: key and value are always sent."""
    return max(text_size(key), 2) + field_size(choice_size(key, value))


cdef Py_ssize_t choice_size(object key, object value) except -1:
    """Of an InferParameter."""
    if isinstance(value, bool):
        return 2
    if isinstance(value, int):
        return 1 + varint_size(integer_bits(key, value, NULL))
    if isinstance(value, float):
        return 9
    if isinstance(value, str):
        return max(text_size(value), 2)
    raise ValueError(f"parameter '{key}' has type {type(value).__name__}, expected bool, int, float or str")


cdef uint64_t integer_bits(object key, object value, bint *is_signed) except? 0:
    """The bits of an int64, or of a uint64 if it doesn't fit that."""
    cdef int overflow
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if is_signed is not NULL:
        is_signed[0] = not overflow
    if not overflow:
        return <uint64_t>number
    if overflow < 0 or value > 0xFFFFFFFFFFFFFFFF:
        raise OverflowError(f"parameter '{key}' is {value}, expected -2^63 to 2^64-1")
    return PyLong_AsUnsignedLongLong(value)


cdef int put_parameters(Writer *writer, unsigned char tag, object parameters) except -1:
    if parameters is not None:
        for key, value in (<dict?>parameters).items():
            put_head(writer, tag, entry_size(key, value))
            put_string(writer, ENTRY_KEY, key)
            put_head(writer, ENTRY_VALUE, choice_size(key, value))
            put_choice(writer, key, value)
    return 0


cdef int put_choice(Writer *writer, object key, object value) except -1:
    cdef double number
    cdef uint64_t bits
    cdef bint is_signed
    if isinstance(value, bool):
        return put_head(writer, BOOL_PARAM, value is True)
    if isinstance(value, int):
        bits = integer_bits(key, value, &is_signed)
        put_varint(writer, INT64_PARAM if is_signed else UINT64_PARAM)
        return put_varint(writer, bits)
    if isinstance(value, float):
        number = value
        put_varint(writer, DOUBLE_PARAM)
        return put_bytes(writer, &number, 8)
    return put_string(writer, STRING_PARAM, value)
