"""JSON requests to Python objects and typed buffers, in one pass; tensors to JSON.

How elements of each datatype are spelt is Triton's rule (spec 1.4): their order counts, their nesting doesn't.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.list cimport PyList_Append
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport INT64_MAX, uint16_t, uint64_t
from libc.string cimport memcpy

import orjson

from pyserver.core.data cimport keep_data, read_data, skip_data
from pyserver.core.number cimport Number, brain_value, fits_64_bits, half_value
from pyserver.core.reader cimport Reader, enter, fail, finite_double, peek, read_digits, read_text, skip_word
from pyserver.core.tensor cimport BF16, BOOL, BYTES, FP16, FP32, FP64, INVALID, Kind, kind_of, size_of

from pyserver.core.bytes import unpack
from pyserver.core.data import JsonData
from pyserver.core.reader import JsonError
from pyserver.core.tensor import as_array

cdef enum:
    # More objects than any request needs, and few enough that a small body can't take much memory.
    MOST_VALUES = 100_000
    # Reading a level takes some stack.
    MOST_LEVELS = 1000
    # So many floats are written by way of a list: numpy's ways in and out cost as much as forty of them.
    FEW = 40

MAX_VALUES = MOST_VALUES
MAX_DEPTH = MOST_LEVELS


def loads(body, Py_ssize_t max_bytes=INT64_MAX, int max_depth=100):
    """Read one strict JSON document (RFC 8259), from any buffer, and return what `json.loads` would, but for:

    - an array under a key `data` becomes a `JsonData`: its elements in raw layout, in the datatype that the same
      object has under `datatype`; they are read in this one pass where `datatype` comes first. FP32 and FP64 take any
      number (correctly rounded to double, and then to float) and NaN, Infinity, -Infinity; FP16 and BF16 too, rounded
      to nearest; integers must fit the datatype (Triton truncates them); BOOL takes true and false; BYTES strings;
    - integers beyond 64 bits become floats;
    - a key that occurs twice in an object, and more than MAX_VALUES values outside `data`, are errors.

    `max_bytes` is the size of the largest buffer that a `data` may fill, `max_depth` (at most MAX_DEPTH) how deep
    arrays and objects may be nested. JsonError for anything else.
    """
    cdef Py_buffer view
    cdef Reader reader
    cdef int found
    if not 0 <= max_depth <= MOST_LEVELS:
        raise ValueError(f"max_depth is {max_depth}, expected 0 to {MAX_DEPTH}")
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    try:
        reader.start = reader.at = <const unsigned char *>view.buf
        reader.end = reader.start + view.len
        reader.base = 0
        reader.levels = reader.max_depth = max_depth
        reader.values = MOST_VALUES
        reader.max_bytes = max_bytes
        found = peek(&reader)
        if found < 0:
            fail(&reader, "syntax", "The document is empty.", reader.at)
        value = read_value(&reader, found)
        if peek(&reader) >= 0:
            fail(&reader, "syntax", "The document root must not be followed by other values.", reader.at)
        return value
    finally:
        PyBuffer_Release(&view)


cdef object read_value(Reader *reader, int found):
    """The value at `at`, whose first character is `found`."""
    if reader.values == 0:
        fail(reader, "limit", f"more than {MAX_VALUES} values", reader.at)
    reader.values -= 1
    if found == c'"':
        return read_text(reader)
    if found == c"{":
        return read_object(reader)
    if found == c"[":
        return read_array(reader)
    if found == c"-" or c"0" <= found <= c"9":
        return read_plain_number(reader)
    if skip_word(reader, "true", 4):
        return True
    if skip_word(reader, "false", 5):
        return False
    if not skip_word(reader, "null", 4):
        fail(reader, "syntax", "Invalid value.", reader.at)
    return None


cdef object read_plain_number(Reader *reader):
    cdef Number number
    read_digits(reader, &number)
    if not number.integer or not fits_64_bits(&number):
        return finite_double(reader, &number)
    if number.digits <= <uint64_t>INT64_MAX:
        return -<long long>number.digits if number.negative else <long long>number.digits
    return -(<object>number.digits) if number.negative else number.digits


cdef list read_array(Reader *reader):
    cdef list made = []
    cdef int found
    enter(reader)
    reader.at += 1
    found = peek(reader)
    if found != c"]":
        while True:
            PyList_Append(made, read_value(reader, found))
            found = peek(reader)
            if found == c"]":
                break
            if found != c",":
                fail(reader, "syntax", "Missing a comma or ] after an array element.", reader.at)
            reader.at += 1
            found = peek(reader)
    reader.at += 1
    reader.levels += 1
    return made


cdef dict read_object(Reader *reader):
    cdef dict made = {}
    cdef const unsigned char *late = NULL
    cdef Py_ssize_t members = 0
    cdef int found
    enter(reader)
    reader.at += 1
    found = peek(reader)
    if found != c"}":
        while True:
            if found != c'"':
                fail(reader, "syntax", "Missing a name for object member.", reader.at)
            read_member(reader, made, &late)
            members += 1
            if len(made) != members:
                fail(reader, "duplicate", "a key occurs twice in the object that ends", reader.at)
            found = peek(reader)
            if found == c"}":
                break
            if found != c",":
                fail(reader, "syntax", "Missing a comma or } after an object member.", reader.at)
            reader.at += 1
            found = peek(reader)
        if late is not NULL:
            read_late(reader, made, late)
    reader.at += 1
    reader.levels += 1
    return made


cdef int read_member(Reader *reader, dict made, const unsigned char **late) except -1:
    """Add the member at `at`. The start of `data` whose datatype isn't known yet is left in `late`."""
    cdef Kind kind
    cdef int found
    key = read_text(reader)
    if peek(reader) != c":":
        fail(reader, "syntax", "Missing a colon after a name of object member.", reader.at)
    reader.at += 1
    found = peek(reader)
    if found == c"[" and PyUnicode_GET_LENGTH(key) == 4 and key == "data":
        kind = kind_of(made.get("datatype"))
        if kind != INVALID:
            made[key] = read_data(reader, kind, made)
        else:
            late[0] = reader.at
            skip_data(reader)
            made[key] = None
    else:
        made[key] = read_value(reader, found)
    return 0


cdef int read_late(Reader *reader, dict made, const unsigned char *late) except -1:
    """Read the `data` that began at `late`, now that all other members are known."""
    cdef Kind kind = kind_of(made.get("datatype"))
    cdef const unsigned char *end = reader.at
    reader.at = late
    if kind != INVALID:
        made["data"] = read_data(reader, kind, made)
    else:
        skip_data(reader)
        made["data"] = keep_data(reader, late)
    reader.at = end
    return 0


def dumps_array(datatype, data, Py_ssize_t count):
    """A tensor of `count` elements in raw layout as a flat JSON array (spec 1.6).

    Floats are written as the double that they are, with the fewest digits that tell it from others (`1.0`, and
    `0.10000000149011612` for the FP32 next to 0.1): so does Triton, and a client that parses to double and narrows
    gets the same bits back. The shortest digits that tell it from other *floats* are half as long, but rounding them
    twice doesn't always come back: 7.038531e-26. NaN, Infinity and -Infinity are written so.
    BYTES become strings; ValueError for an element that isn't UTF-8. ValueError where `data` has another size.
    """
    cdef Kind kind = kind_of(datatype)
    if kind == BYTES:
        return dump_strings(unpack(data, count))
    if count <= FEW and (FP16 <= kind <= FP64 or kind == BF16):
        text = dump_few(kind, data, count)
        if text is not None:
            return text
    array = as_array(datatype, (count,), data)
    if FP16 <= kind <= FP64 or kind == BF16:
        return dump_floats(kind, array)
    if kind == BOOL:
        array = array.view("u1") != 0
    elif not array.flags.aligned:
        array = array.copy()
    return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)


cdef bytes dump_few(Kind kind, object data, Py_ssize_t count):
    """As `dump_floats`; None for what that has to look at: another size, or elements that aren't finite."""
    cdef Py_buffer source
    cdef double[FEW] doubles
    cdef bint finite
    cdef Py_ssize_t n
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    finite = source.len == count * size_of(kind) and widen(kind, <const char *>source.buf, doubles, count)
    PyBuffer_Release(&source)
    return orjson.dumps([doubles[n] for n in range(count)]) if finite else None


cdef bytes dump_floats(Kind kind, object array):
    """Every kind by way of an array of doubles of its own, which is aligned whatever `array` is."""
    cdef Py_buffer source, target
    import numpy  # see pyserver.core.tensor

    doubles = numpy.empty(array.size)
    PyObject_GetBuffer(array, &source, PyBUF_SIMPLE)
    PyObject_GetBuffer(doubles, &target, PyBUF_WRITABLE)
    cdef bint finite = widen(kind, <const char *>source.buf, <double *>target.buf, target.len // 8)
    PyBuffer_Release(&target)
    PyBuffer_Release(&source)
    text = orjson.dumps(doubles, option=orjson.OPT_SERIALIZE_NUMPY)
    return text if finite else name_specials(text, doubles)


cdef bint widen(Kind kind, const char *source, double *target, Py_ssize_t count) noexcept nogil:
    """Every element as a double; whether all are finite."""
    cdef Py_ssize_t n
    cdef uint16_t half
    cdef float single
    cdef double sum = 0
    for n in range(count):
        if kind == FP32:
            memcpy(&single, source + 4 * n, 4)
            target[n] = single
        elif kind == FP64:
            memcpy(target + n, source + 8 * n, 8)
        else:
            memcpy(&half, source + 2 * n, 2)
            target[n] = half_value(half) if kind == FP16 else brain_value(half)
        # Zero for every finite number, else NaN.
        sum += target[n] * 0
    return sum == 0


cdef bytes name_specials(bytes text, object doubles):
    """orjson writes null for what isn't finite, and nothing else in an array of numbers."""
    import numpy

    names = [
        b"NaN" if value != value else b"Infinity" if value > 0 else b"-Infinity"
        for value in doubles[~numpy.isfinite(doubles)].tolist()
    ]
    return b"".join([part + name for part, name in zip(text.split(b"null"), [*names, b""], strict=True)])


cdef bytes dump_strings(list elements):
    cdef list texts = []
    for element in <list>elements:
        try:
            texts.append((<bytes>element).decode())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"element {len(texts)} isn't UTF-8 (byte {error.start}: {error.reason}), so JSON can't hold it:"
                " ask for this output as binary data"
            ) from None
    return orjson.dumps(texts)
