"""Runs of decimal numbers, as they are usually written, to floats. Only for `data`.

Where the point stands and where the number ends comes from one look at WINDOW characters, all digits are taken in
words of eight that end there, and the rounding is one multiplication (see `power`): nothing branches on what can't be
foretold, such as a sign or the number of digits. What isn't plain is left to `number`.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from pyserver.core.number cimport eight_digits
from pyserver.core.power cimport nearest
from pyserver.core.tensor cimport FP32

cdef extern from *:
    """
    /* Which of the 32 characters at `at` aren't digits: the first in the lowest bit. */
    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline uint32_t others_of_16(const unsigned char *at) {
        __m128i values = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8('0'));
        __m128i digits = _mm_cmpeq_epi8(values, _mm_min_epu8(values, _mm_set1_epi8(9)));
        return (uint32_t)_mm_movemask_epi8(digits) ^ 0xFFFF;
    }
    static inline uint32_t others_of_32(const unsigned char *at) {
        return others_of_16(at) | others_of_16(at + 16) << 16;
    }
    #else
    static inline uint32_t others_of_32(const unsigned char *at) {
        const uint64_t sevens = 0x7F7F7F7F7F7F7F7F;
        uint32_t others = 0;
        for (int n = 0; n < 32; n += 8) {
            uint64_t values;
            memcpy(&values, at + n, 8);
            values ^= 0x3030303030303030;
            /* The top bit of each byte above 9, and then these bits side by side. */
            values = (((values & sevens) + 0x7676767676767676) | values) & ~sevens;
            others |= (uint32_t)((values >> 7) * 0x0102040810204080 >> 56) << n;
        }
        return others;
    }
    #endif
    """
    uint32_t others_of_32(const unsigned char *at) nogil
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
# The last n bytes of a word, at most all, for n of -16 to 24.
cdef uint64_t[41] _kept


cdef int fill_tables() except -1:
    for n in range(MOST_PLACES + 1):
        # Of more, none is multiplied but 0.
        _tens[n] = 10**n if n <= MOST_DIGITS else 0
    for n in range(-16, 25):
        kept = 8 * min(max(n, 0), 8)
        _kept[n + 16] = (1 << kept) - 1 << 64 - kept
    return 0


fill_tables()


cdef inline uint64_t digits_before(const unsigned char *end, int count) noexcept nogil:
    """The number that the last `count` digits before `end` make, at most 8 of them."""
    cdef uint64_t values
    memcpy(&values, end - 8, 8)
    return eight_digits((values ^ <uint64_t>0x3030303030303030) & _kept[count + 16])


cdef inline const unsigned char *read_plain(const unsigned char *at, double *value) noexcept nogil:
    """Read the number at `at`; what follows it is returned, or NULL if it isn't a plain one."""
    cdef uint32_t others = others_of_32(at)
    cdef uint64_t digits, first
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
    digits = digits_before(at + whole, whole)
    first = digits_before(at + size - 16, places - 16)
    if whole + places > MOST_DIGITS and (digits or first >= 1000):
        return NULL
    digits = digits * _tens[places] + first * <uint64_t>10000000000000000
    digits += digits_before(at + size - 8, places - 8) * 100000000 + digits_before(at + size, places)
    first = nearest(digits, -places, &sure) & 0 - <uint64_t>(digits != 0)
    first |= <uint64_t>negative << 63
    memcpy(value, &first, 8)
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
