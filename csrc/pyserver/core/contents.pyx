"""The typed lists of an InferTensorContents (spec 2.2). For `pyserver.core.wire`."""

from libc.stdint cimport UINT32_MAX, int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from pyserver.core.fields cimport (
    I32, I64, LEN, VARINT, enter, fail, read_fixed, read_length, read_tag, read_varint, skip,
)
from pyserver.core.sink cimport close_sink, drop_sink, open_sink, reserve
from pyserver.core.tensor cimport (
    BOOL, BYTES, FP32, FP64, INT8, INT32, INT64, INVALID, UINT8, UINT32, UINT64, kind_of, name_of, size_of,
)

cdef enum:
    FIELDS = 9

# The kind that each field's elements have.
cdef Kind[FIELDS] _KINDS = [INVALID, BOOL, INT32, INT64, UINT32, UINT64, FP32, FP64, BYTES]


cdef class Contents:
    """The one list of a tensor's typed contents that isn't empty: `count` elements.

    `datatype` is the list's own: BOOL, INT32 (int_contents), INT64, UINT32 (uint_contents), UINT64, FP32, FP64 or
    BYTES; "" when all lists are empty. `buffer` is the elements in its raw layout.
    """

    def __dealloc__(self):
        drop_sink(&self._sink)

    @property
    def datatype(self):
        return name_of(self._kind) if self._kind != INVALID else ""

    @property
    def buffer(self):
        if self._buffer is None:
            self._buffer = close_sink(&self._sink) if self._sink.made is not NULL else b""
        return self._buffer

    def fits(self, datatype):
        """Whether a tensor of `datatype` is sent in this list (spec 2.3). An empty one fits all."""
        return fits(self._kind, kind_of(datatype))

    def raw(self, datatype):
        """The elements in the raw layout of `datatype`. ValueError if it doesn't fit, or an element is out of range."""
        cdef Kind kind = kind_of(datatype)
        if not fits(self._kind, kind):
            raise ValueError(f"contents hold elements of {self.datatype}, expected {datatype}")
        if self._kind == kind or self.count == 0:
            return self.buffer
        return narrow(self.buffer, self._kind, kind, self.count)


cdef bint fits(Kind sent, Kind kind) noexcept:
    if sent == INT32:
        return INT8 <= kind <= INT32
    if sent == UINT32:
        return UINT8 <= kind <= UINT32
    return sent == kind or sent == INVALID


cdef bytes narrow(bytes buffer, Kind sent, Kind kind, Py_ssize_t count):
    """INT32 to INT8 or INT16, UINT32 to UINT8 or UINT16."""
    cdef const char *source = buffer
    cdef Py_ssize_t n, size = size_of(kind)
    cdef uint32_t bits
    cdef long long lowest, highest, wide
    cdef Sink sink
    lowest = -(1 << 8 * size - 1) if sent == INT32 else 0
    highest = lowest + (1 << 8 * size) - 1
    open_sink(&sink, count * size)
    try:
        for n in range(count):
            memcpy(&bits, source + 4 * n, 4)
            wide = <int32_t>bits if sent == INT32 else <long long>bits
            if not lowest <= wide <= highest:
                raise ValueError(f"element {n} is {wide}, out of the range of {name_of(kind)}")
            memcpy(sink.data + n * size, &bits, size)
        sink.used = count * size
        return close_sink(&sink)
    finally:
        drop_sink(&sink)


cdef int read_contents(Cursor *cursor, Contents contents) except -1:
    cdef const unsigned char *outer = enter(cursor)
    cdef unsigned int tag, field
    while cursor.at < cursor.end:
        tag = read_tag(cursor)
        field = tag >> 3
        if field >= FIELDS:
            skip(cursor, tag, 1)
        elif field == 8:
            if tag & 7 != LEN:
                skip(cursor, tag, FIELDS)
            read_element(cursor, contents)
        elif tag & 7 == LEN:
            read_packed(cursor, contents, _KINDS[field])
        elif tag & 7 == (I32 if field == 6 else I64 if field == 7 else VARINT):
            prepare(cursor, contents, _KINDS[field], 1)
            read_one(cursor, contents)
        else:
            skip(cursor, tag, FIELDS)
    cursor.end = outer
    return 0


cdef int prepare(Cursor *cursor, Contents contents, Kind kind, Py_ssize_t more) except -1:
    """Make room for `more` elements (of BYTES: bytes)."""
    cdef Py_ssize_t size = size_of(kind) if kind != BYTES else 1
    if contents._kind != kind:
        if contents._kind != INVALID:
            fail(cursor, f"contents hold elements of {contents.datatype} and of {name_of(kind)}", cursor.at)
        contents._kind = kind
        open_sink(&contents._sink, more * size)
    return reserve(&contents._sink, more * size)


cdef int read_element(Cursor *cursor, Contents contents) except -1:
    cdef Py_ssize_t size = read_length(cursor)
    cdef uint32_t length = <uint32_t>size
    cdef char *out
    if size > <Py_ssize_t>UINT32_MAX:
        fail(cursor, f"element has {size} bytes, BYTES elements have at most {UINT32_MAX}", cursor.at)
    prepare(cursor, contents, BYTES, 4 + size)
    out = contents._sink.data + contents._sink.used
    memcpy(out, &length, 4)
    memcpy(out + 4, cursor.at, size)
    cursor.at += size
    contents._sink.used += 4 + size
    contents.count += 1
    return 0


cdef int read_packed(Cursor *cursor, Contents contents, Kind kind) except -1:
    cdef const unsigned char *outer = enter(cursor)
    cdef Py_ssize_t size = cursor.end - cursor.at, count = 0, n
    if kind == FP32 or kind == FP64:
        count = size // size_of(kind)
        if count * size_of(kind) != size:
            fail(cursor, f"packed list of {name_of(kind)} has {size} bytes", cursor.at)
        if count:
            prepare(cursor, contents, kind, count)
            read_fixed(cursor, contents._sink.data + contents._sink.used, size)
            contents._sink.used += size
            contents.count += count
    else:
        for n in range(size):
            count += cursor.at[n] < 0x80
        if size:
            prepare(cursor, contents, kind, count)
        while cursor.at < cursor.end:
            read_one(cursor, contents)
    cursor.end = outer
    return 0


cdef inline int read_one(Cursor *cursor, Contents contents) except -1:
    """Read a number to where there is room for it."""
    cdef Kind kind = contents._kind
    cdef char *out = contents._sink.data + contents._sink.used
    cdef Py_ssize_t size = size_of(kind)
    cdef uint64_t value
    if kind == FP32 or kind == FP64:
        read_fixed(cursor, out, size)
    else:
        value = read_varint(cursor)
        if kind == BOOL:
            out[0] = value != 0
        elif size == 4:
            memcpy(out, &value, 4)
        else:
            memcpy(out, &value, 8)
    contents._sink.used += size
    contents.count += 1
    return 0
