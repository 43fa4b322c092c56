"""Runs of decimal numbers, as they are usually written, to floats. Only for `data`.

Where the point stands and where the number ends comes from one look at WINDOW characters, all the digits before these
places are taken at once (see `digits`), and the rounding is one multiplication (see `power`): nothing branches on what
can't be foretold, such as a sign or the number of digits. What isn't plain is left to `number`.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from pyserver.core.digits cimport others_of_32, parts_of
from pyserver.core.power cimport nearest
from pyserver.core.tensor cimport FP32

cdef extern from *:
    int trailing_zeros "__builtin_ctz"(uint32_t) nogil

cdef enum:
    # Characters that are looked at of one number, its sign and the one behind it included.
    WINDOW = 32
    # Characters of text that are read before and behind a place in it.
    BEFORE = 24
    BEHIND = WINDOW + 2
    MOST_WHOLE = 8
    MOST_PLACES = 22
    MOST_DIGITS = 19

cdef uint64_t[MOST_PLACES + 1] _tens


cdef int fill_table() except -1:
    for n in range(MOST_PLACES + 1):
        # Of more, none is multiplied but 0.
        _tens[n] = 10**n if n <= MOST_DIGITS else 0
    return 0


fill_table()


cdef inline const unsigned char *read_plain(const unsigned char *at, double *value) noexcept nogil:
    """Read the number at `at`; what follows it is returned, or NULL if it isn't a plain one."""
    cdef uint32_t others = others_of_32(at)
    cdef uint64_t digits, bits
    cdef uint64_t[4] parts
    cdef int whole, size, places, unit = others & 1
    cdef bint negative = unit, sure
    at += unit
    others >>= unit
    if unit & ((at - 1)[0] != c"-") | (others == 0):
        return NULL
    whole = size = trailing_zeros(others)
    places = 0
    if at[whole] == c".":
        others &= others - 1
        if not others:
            return NULL
        size = trailing_zeros(others)
        places = size - whole - 1
        if not places:
            return NULL
    if at[size] != c"," and at[size] != c"]":
        return NULL
    if not 0 < whole <= MOST_WHOLE or places > MOST_PLACES or at[0] == c"0" and whole > 1:
        return NULL
    parts_of(at + whole, whole, at + size, places, parts)
    if whole + places > MOST_DIGITS and (parts[0] or parts[1] >= 1000):
        return NULL
    digits = parts[0] * _tens[places] + parts[1] * <uint64_t>10000000000000000 + parts[2] * 100000000 + parts[3]
    bits = nearest(digits, -places, &sure) & 0 - <uint64_t>(digits != 0)
    bits |= <uint64_t>negative << 63
    memcpy(value, &bits, 8)
    return at + size


cdef Py_ssize_t read_run(
    const unsigned char **place, const unsigned char *start, const unsigned char *end, Kind kind, char *out,
    Py_ssize_t room,
) noexcept nogil:
    cdef const unsigned char *at = place[0]
    cdef const unsigned char *behind
    cdef Py_ssize_t count = 0
    cdef double value
    cdef float single
    if at - start < BEFORE:
        return 0
    while count < room and end - at >= BEHIND:
        behind = read_plain(at, &value)
        if behind is NULL:
            break
        if kind == FP32:
            # By way of the double, as Triton does it, and whoever parses to double and then narrows.
            single = <float>value
            memcpy(out + 4 * count, &single, 4)
        else:
            memcpy(out + 8 * count, &value, 8)
        count += 1
        place[0] = behind
        if behind[0] != c",":
            break
        at = behind + 1
        if at[0] == c" ":
            at += 1
    return count
