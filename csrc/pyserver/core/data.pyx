"""The arrays under `data`: JSON elements straight into raw layout. For `pyserver.core.json`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.math cimport INFINITY, NAN
from libc.stdint cimport UINT32_MAX, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from pyserver.core.floats cimport read_run
from pyserver.core.number cimport Number, brain_of, fits_64_bits, half_of, read_number
from pyserver.core.reader cimport (
    copy_text, enter, fail, finite_double, peek, read_digits, refuse, skip_any_word, skip_word, starts_number,
)
from pyserver.core.sink cimport Sink, close_sink, drop_sink, open_sink, reserve
from pyserver.core.tensor cimport (
    BF16, BOOL, BYTES, FP16, FP32, FP64, INT8, INT64, INVALID, UINT8, count_of, kind_of, name_of, size_of,
)

from pyserver.core.reader import JsonError


cdef class JsonData:
    """The elements of a `data` array: `count` of them, in `buffer` in the raw layout of `datatype`; `nested` where
    there are arrays in it.

    The array is `document[start:end]`.
    `datatype` is "" (and there is nothing else) as long as it isn't known: the object that the array stands in has no
    datatype, or none that exists. `scan` reads it then.
    """

    def scan(self, datatype):
        """Read the elements as `datatype`. JsonError as from `loads`; ValueError if it has been done, or is none."""
        cdef Kind kind = kind_of(datatype)
        cdef JsonData made
        if self._text is None or kind == INVALID:
            raise ValueError(f"data of datatype {self.datatype!r} can't be read as {datatype!r}")
        self._reader.at = self._reader.start
        made = read_data(&self._reader, kind, {})
        self.datatype, self.count, self.buffer, self._text = made.datatype, made.count, made.buffer, None
        self.nested = made.nested


cdef JsonData keep_data(Reader *reader, const unsigned char *start):
    cdef JsonData made = JsonData.__new__(JsonData)
    cdef const unsigned char *copied
    made.datatype = ""
    made.buffer = b""
    made._text = PyBytes_FromStringAndSize(<const char *>start, reader.at - start)
    copied = <const unsigned char *>PyBytes_AS_STRING(made._text)
    made._reader = reader[0]
    made.start, made.end = start - reader.start + reader.base, reader.at - reader.start + reader.base
    made._reader.base += start - reader.start
    made._reader.start = copied
    made._reader.end = copied + PyBytes_GET_SIZE(made._text)
    return made


cdef JsonData read_data(Reader *reader, Kind kind, dict members):
    cdef JsonData made = JsonData.__new__(JsonData)
    cdef Sink sink
    made.start = reader.at - reader.start + reader.base
    open_sink(&sink, first_capacity(reader, kind, members))
    try:
        made.count = scan(reader, kind, &sink)
        made.end = reader.at - reader.start + reader.base
        made.datatype = name_of(kind)
        made.nested = sink.nested
        made.buffer = close_sink(&sink)
    except JsonError as error:
        error.name = members.get("name")
        raise
    finally:
        drop_sink(&sink)
    return made


cdef bytes read_elements(Reader *reader, Kind kind, Py_ssize_t count):
    cdef Sink sink
    open_sink(&sink, room_for(reader, kind, count))
    try:
        return close_sink(&sink) if scan(reader, kind, &sink) == count else None
    finally:
        drop_sink(&sink)


cdef int skip_data(Reader *reader) except -1:
    cdef Sink sink
    open_sink(&sink, 0)
    try:
        scan(reader, INVALID, &sink)
    finally:
        drop_sink(&sink)
    return 0


cdef Py_ssize_t first_capacity(Reader *reader, Kind kind, dict members) except -1:
    """Bytes to begin with: what the shape says, if it was there before."""
    cdef Py_ssize_t count = 64
    cdef PyObject *shape = PyDict_GetItem(members, "shape")
    if shape is not NULL and type(<object>shape) is list:
        try:
            count = count_of(<object>shape)
        except (ValueError, OverflowError):
            pass
    return room_for(reader, kind, count)


cdef Py_ssize_t room_for(Reader *reader, Kind kind, Py_ssize_t count) noexcept:
    """Bytes for `count` elements, but no more than the text can hold."""
    cdef Py_ssize_t size = size_of(kind) if kind != BYTES else 16
    return min(min(count, (reader.end - reader.at) // 2 + 1) * size, reader.max_bytes)


cdef Py_ssize_t scan(Reader *reader, Kind kind, Sink *sink) except -1:
    """Read the array at `at`, and the arrays in it, to `sink`; the number of elements. INVALID takes and drops all."""
    cdef Py_ssize_t count = 0, run
    cdef int outside = reader.levels, found
    while True:
        found = peek(reader)
        if found != c"[":
            run = read_plain_floats(reader, kind, sink) if kind == FP32 or kind == FP64 else 0
            if not run:
                read_element(reader, kind, sink, found)
                run = 1
            count += run
        else:
            enter(reader)
            sink.nested |= reader.levels < outside - 1
            reader.at += 1
            if peek(reader) != c"]":
                continue
        found = peek(reader)
        while found == c"]":
            reader.at += 1
            reader.levels += 1
            if reader.levels == outside:
                if sink.used > reader.max_bytes:
                    too_big(reader)
                return count
            found = peek(reader)
        if found != c",":
            fail(reader, "syntax", "Missing a comma or ] after an array element.", reader.at)
        reader.at += 1


cdef int too_big(Reader *reader) except -1:
    return fail(reader, "limit", f"'data' exceeds the maximum allowed {reader.max_bytes} bytes", reader.at)


cdef inline int make_room(Reader *reader, Sink *sink, Py_ssize_t size) except -1:
    if sink.capacity - sink.used < size:
        if sink.used + size > reader.max_bytes:
            too_big(reader)
        reserve(sink, size)
    return 0


cdef inline int read_element(Reader *reader, Kind kind, Sink *sink, int found) except -1:
    if FP16 <= kind <= FP64 or kind == BF16:
        return read_float(reader, kind, sink, found)
    if UINT8 <= kind <= INT64:
        return read_integer(reader, kind, sink, found)
    if kind == BYTES:
        return read_string(reader, sink, found)
    if kind == BOOL:
        return read_bool(reader, sink)
    return skip_element(reader, sink, found)


cdef inline Py_ssize_t read_plain_floats(Reader *reader, Kind kind, Sink *sink) except -1:
    """Read as many elements as are plain numbers in a row: none, where the one at `at` isn't."""
    cdef Py_ssize_t size = 4 if kind == FP32 else 8, room, count
    make_room(reader, sink, size)
    room = (sink.capacity - sink.used) // size
    count = read_run(&reader.at, reader.start, reader.end, kind, sink.data + sink.used, room)
    sink.used += count * size
    return count


cdef int read_float(Reader *reader, Kind kind, Sink *sink, int found) except -1:
    cdef Number number
    cdef double value
    # From - to 9 there are only . and / besides, which `read_number` refuses.
    if c"-" <= found <= c"9":
        if read_number(reader.at, reader.end, &number) is not NULL:
            value = finite_double(reader, &number)
            reader.at = number.end
        elif skip_word(reader, "-Infinity", 9):
            value = -INFINITY
        else:
            return fail(reader, "syntax", "Invalid value.", number.end)
    elif skip_word(reader, "NaN", 3):
        value = NAN
    elif skip_word(reader, "Infinity", 8):
        value = INFINITY
    else:
        return refuse(reader, kind)
    return write_float(reader, kind, sink, value)


cdef inline int write_float(Reader *reader, Kind kind, Sink *sink, double value) except -1:
    cdef float single
    cdef uint16_t half
    if kind == FP32:
        # By way of the double, as Triton does it, and whoever parses to double and then narrows.
        single = <float>value
        make_room(reader, sink, 4)
        memcpy(sink.data + sink.used, &single, 4)
        sink.used += 4
    elif kind == FP64:
        make_room(reader, sink, 8)
        memcpy(sink.data + sink.used, &value, 8)
        sink.used += 8
    else:
        half = half_of(value) if kind == FP16 else brain_of(value)
        make_room(reader, sink, 2)
        memcpy(sink.data + sink.used, &half, 2)
        sink.used += 2
    return 0


cdef int read_integer(Reader *reader, Kind kind, Sink *sink, int found) except -1:
    cdef Number number
    cdef uint64_t most, value
    cdef int size = 1 << (<int>kind - UINT8 & 3)
    if not c"-" <= found <= c"9":
        return refuse(reader, kind)
    read_digits(reader, &number)
    value = number.digits
    if not number.integer or number.negative and kind < INT8 and (value or not number.exact):
        reader.at = number.start
        return refuse(reader, kind)
    most = <uint64_t>-1 >> 64 - 8 * size
    if kind >= INT8:
        most = (most >> 1) + number.negative
    if value > most or not fits_64_bits(&number):
        fail(reader, "range", f"{name_of(kind)} doesn't hold this integer", number.start)
    if number.negative:
        value = 0 - value
    return write_integer(reader, sink, value, size)


cdef inline int write_integer(Reader *reader, Sink *sink, uint64_t value, int size) except -1:
    """The low `size` bytes of `value`. Each size in its own words, so that each copy is one instruction."""
    cdef char *out
    make_room(reader, sink, size)
    out = sink.data + sink.used
    sink.used += size
    if size == 8:
        memcpy(out, &value, 8)
    elif size == 4:
        memcpy(out, &value, 4)
    elif size == 2:
        memcpy(out, &value, 2)
    else:
        out[0] = <char>value
    return 0


cdef int read_bool(Reader *reader, Sink *sink) except -1:
    cdef bint value = skip_word(reader, "true", 4)
    if not value and not skip_word(reader, "false", 5):
        return refuse(reader, BOOL)
    return write_integer(reader, sink, value, 1)


cdef int read_string(Reader *reader, Sink *sink, int found) except -1:
    cdef Py_ssize_t start = sink.used, size
    cdef uint32_t length
    if found != c'"':
        return refuse(reader, BYTES)
    make_room(reader, sink, 4)
    sink.used += 4
    copy_text(reader, sink)
    size = sink.used - start - 4
    if size > <Py_ssize_t>UINT32_MAX or sink.used > reader.max_bytes:
        return too_big(reader)
    length = <uint32_t>size
    memcpy(sink.data + start, &length, 4)
    return 0


cdef int skip_element(Reader *reader, Sink *sink, int found) except -1:
    cdef Number number
    if found == c'"':
        copy_text(reader, sink)
        sink.used = 0
    elif starts_number(found) and not skip_word(reader, "-Infinity", 9):
        read_digits(reader, &number)
    elif found != c"-" and not skip_any_word(reader):
        refuse(reader, INVALID)
    return 0
