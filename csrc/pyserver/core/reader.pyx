"""Strings and numbers of a JSON document, and the error that says where it is wrong. For `json` and `data`."""

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isinf
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from pyserver.core.number cimport LONGEST_NUMBER, double_of, read_number
from pyserver.core.sink cimport drop_sink, open_sink, reserve
from pyserver.core.tensor cimport BOOL, BYTES, INT8, INT64, INVALID
from pyserver.core.text cimport encode_point, invalid_at, text_of


class JsonError(ValueError):
    """The document can't be read: `reason`, at byte `offset`.

    `kind` is one of
    `syntax`: not JSON; the reason is in the words Triton's parser has for it (spec 1.13, row 7);
    `depth`, `limit`: nested too deep, too big;
    `type`: an element of `data` that its datatype doesn't take; the reason is in Triton's words (row 14);
    `range`: a number that its datatype doesn't hold;
    `duplicate`: a key twice in one object.
    `name` is the `name` in the object whose `data` is wrong, None where it isn't about `data` or has none (yet).
    """

    def __init__(self, kind, reason, offset, got):
        """`got` is the text at `offset`, shortened."""
        super().__init__(f"{reason} at {offset}, got {got}")
        self.kind = kind
        self.reason = reason
        self.offset = offset
        self.got = got
        self.name = None


cdef int fail(Reader *reader, str kind, str reason, const unsigned char *at) except -1:
    cdef Py_ssize_t size = 0
    while at + size < reader.end and size < 24 and at[size] not in b" \t\r\n,:]}" or size == 0 and at < reader.end:
        size += 1
    got = repr(at[:size].decode("utf-8", "backslashreplace")) if size else "the end"
    raise JsonError(kind, reason, reader.base + (at - reader.start), got)


cdef int too_deep(Reader *reader) except -1:
    reason = f"JSON nesting depth exceeds maximum allowed limit ({reader.max_depth})"
    return fail(reader, "depth", reason, reader.at)


cdef bint skip_word(Reader *reader, const char *word, Py_ssize_t size) noexcept nogil:
    if reader.end - reader.at < size or memcmp(reader.at, word, size) != 0:
        return False
    reader.at += size
    return True


cdef bint skip_any_word(Reader *reader) noexcept nogil:
    return (
        skip_word(reader, "true", 4) or skip_word(reader, "false", 5) or skip_word(reader, "null", 4)
        or skip_word(reader, "NaN", 3) or skip_word(reader, "Infinity", 8)
    )


cdef int refuse(Reader *reader, Kind kind) except -1:
    """JsonError about the element at `at`: another type than `kind` takes, or no JSON at all."""
    cdef const unsigned char *at = reader.at
    cdef int found = peek(reader)
    if found != c'"' and found != c"{" and not starts_number(found) and not skip_any_word(reader):
        return fail(reader, "syntax", "Invalid value.", at)
    if kind == INVALID:
        return fail(reader, "type", "expected numbers, booleans or strings in 'data'", at)
    if kind == BOOL:
        wanted = "boolean as boolean"
    elif kind == BYTES:
        wanted = "string as string"
    elif kind < INT8:
        wanted = "unsigned-integer as unsigned-integer"
    elif kind <= INT64:
        wanted = "signed-integer as signed-integer"
    else:
        wanted = "number as double"
    return fail(reader, "type", f"attempt to access JSON non-{wanted}", at)


cdef int read_digits(Reader *reader, Number *number) except -1:
    if read_number(reader.at, reader.end, number) is NULL:
        fail(reader, "syntax", "Invalid value.", number.end)
    reader.at = number.end
    return 0


cdef double finite_double(Reader *reader, Number *number) except? -1:
    cdef double value
    if number.end - number.start > LONGEST_NUMBER:
        fail(reader, "limit", f"number of more than {LONGEST_NUMBER} characters", number.start)
    value = double_of(number)
    if isinf(value):
        fail(reader, "range", "Number too big to be stored in double.", number.start)
    return value


cdef const unsigned char *run_end(const unsigned char *at, const unsigned char *end, bint *ascii) noexcept nogil:
    """The first quote, backslash or control character; `ascii` says whether only ASCII comes before it."""
    cdef uint64_t word, quote, backslash, seen = 0
    cdef uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080
    while end - at >= 8:
        memcpy(&word, at, 8)
        quote = word ^ ones * c'"'
        backslash = word ^ ones * c"\\"
        # A byte less than n borrows from its top bit when n is taken from it.
        if ((quote - ones & ~quote) | (backslash - ones & ~backslash) | (word - ones * 32 & ~word)) & tops:
            break
        seen |= word
        at += 8
    while at < end and at[0] != c'"' and at[0] != c"\\" and at[0] >= 32:
        seen |= at[0]
        at += 1
    ascii[0] = not seen & tops
    return at


cdef int check_run(Reader *reader, const unsigned char *run, Py_ssize_t size) except -1:
    cdef Py_ssize_t bad = invalid_at(run, size)
    if bad >= 0:
        fail(reader, "syntax", "Invalid encoding in string.", run + bad)
    return 0


cdef str read_text(Reader *reader):
    cdef const unsigned char *first = reader.at + 1
    cdef bint ascii
    cdef const unsigned char *end = run_end(first, reader.end, &ascii)
    if end < reader.end and end[0] == c'"':
        if not ascii:
            check_run(reader, first, end - first)
        reader.at = end + 1
        return text_of(first, end - first)
    return read_escaped(reader)


cdef str read_escaped(Reader *reader):
    cdef Sink sink
    open_sink(&sink, 64)
    try:
        copy_text(reader, &sink)
        return PyUnicode_DecodeUTF8(sink.data, sink.used, NULL)
    finally:
        drop_sink(&sink)


cdef int copy_text(Reader *reader, Sink *sink) except -1:
    cdef const unsigned char *run
    cdef const unsigned char *at = reader.at + 1
    cdef bint ascii
    while True:
        run = at
        at = run_end(run, reader.end, &ascii)
        if not ascii:
            check_run(reader, run, at - run)
        # Room for an escaped character as well.
        reserve(sink, at - run + 4)
        memcpy(sink.data + sink.used, run, at - run)
        sink.used += at - run
        if at == reader.end:
            fail(reader, "syntax", "Missing a closing quotation mark in string.", at)
        elif at[0] == c'"':
            reader.at = at + 1
            return 0
        elif at[0] == c"\\":
            at = copy_escaped(reader, at, sink)
        else:
            fail(reader, "syntax", "Invalid control character in string.", at)


cdef const unsigned char *copy_escaped(Reader *reader, const unsigned char *at, Sink *sink) except NULL:
    """Append the character that the escape at `at` stands for; what follows it is returned."""
    cdef unsigned char *out = <unsigned char *>sink.data + sink.used
    cdef unsigned char escaped = at[1] if reader.end - at > 1 else 0
    cdef unsigned int point, second
    if escaped == c"u":
        point = hex_digits(reader, at + 2)
        if 0xD800 <= point <= 0xDFFF:
            second = 0
            if point <= 0xDBFF and reader.end - at >= 8 and at[6] == c"\\" and at[7] == c"u":
                second = hex_digits(reader, at + 8)
            if not 0xDC00 <= second <= 0xDFFF:
                fail(reader, "syntax", "The surrogate pair in string is invalid.", at)
            point = 0x10000 + (point - 0xD800 << 10) + (second - 0xDC00)
            at += 6
        sink.used += encode_point(point, out)
        return at + 6
    if escaped == c"n":
        escaped = c"\n"
    elif escaped == c"t":
        escaped = c"\t"
    elif escaped == c"r":
        escaped = c"\r"
    elif escaped == c"b":
        escaped = c"\b"
    elif escaped == c"f":
        escaped = c"\f"
    elif escaped != c'"' and escaped != c"\\" and escaped != c"/":
        fail(reader, "syntax", "Invalid escape character in string.", at)
    out[0] = escaped
    sink.used += 1
    return at + 2


cdef unsigned int hex_digits(Reader *reader, const unsigned char *at) except? 0xFFFFFFFF:
    cdef unsigned int value = 0, digit
    cdef int n
    for n in range(4):
        digit = 16
        if reader.end - at > n:
            digit = at[n]
            if 48 <= digit <= 57:
                digit -= 48
            elif 97 <= digit | 32 <= 102:
                digit = (digit | 32) - 87
            else:
                digit = 16
        if digit == 16:
            fail(reader, "syntax", "Incorrect hex digit after \\u escape in string.", at)
        value = value << 4 | digit
    return value
