"""Decimal text to binary numbers, correctly rounded. Only for the other modules of the core.

A number of up to 19 digits is digits * 10^exponent with digits < 2^64: one multiplication rounds it (see `power`), or
can't tell, as seldom happens. Then, and for longer ones, there is CPython's own conversion.
"""

from cpython.object cimport PyObject
from libc.math cimport INFINITY, NAN, fabs, ilogb, isinf, isnan, ldexp, rint
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy

from pyserver.core.power cimport HIGHEST, LOWEST, nearest

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, PyObject *overflow) except? -1

cdef extern from *:
    int trailing_zeros "__builtin_ctzll"(uint64_t) nogil


cdef enum:
    MOST_DIGITS = 19
    # An exponent beyond this is infinity or zero, whatever the digits; it must not overflow an int.
    FAR = 100000

cdef uint64_t[8] _WHOLE = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000]


cdef inline bint is_digit(const unsigned char *at, const unsigned char *end) noexcept nogil:
    return at < end and <unsigned char>(at[0] - 48) < 10


cdef inline uint64_t eight_digits(uint64_t values) noexcept nogil:
    """The number that eight digits make, the first in the lowest byte: neighbours joined to 2, 4, 8 digits."""
    values = (values & <uint64_t>0x00FF00FF00FF00FF) * 10 + (values >> 8 & <uint64_t>0x00FF00FF00FF00FF)
    values = (values & <uint64_t>0x0000FFFF0000FFFF) * 100 + (values >> 16 & <uint64_t>0x0000FFFF0000FFFF)
    return (values & <uint64_t>0xFFFFFFFF) * 10000 + (values >> 32)


cdef inline const unsigned char *take_digits(
    const unsigned char *at, const unsigned char *end, uint64_t *digits
) noexcept nogil:
    """Append the digits at `at`, modulo 2^64; what follows them is returned.

    Eight at a time: how long a number is can't be foretold, and a branch foretold wrong costs more than all this.
    """
    cdef uint64_t values, others
    cdef int count
    while end - at >= 8:
        memcpy(&values, at, 8)
        values ^= <uint64_t>0x3030303030303030
        # The top bits of the bytes that are above 9; right up to the first of them, which is all that is asked.
        others = (values + <uint64_t>0x7676767676767676 | values) & <uint64_t>0x8080808080808080
        if others:
            count = trailing_zeros(others) >> 3
            if count:
                digits[0] = digits[0] * _WHOLE[count] + eight_digits(values << 64 - 8 * count)
            return at + count
        digits[0] = digits[0] * 100000000 + eight_digits(values)
        at += 8
    while is_digit(at, end):
        digits[0] = digits[0] * 10 + (at[0] - 48)
        at += 1
    return at


cdef inline const unsigned char *wrong(Number *number, const unsigned char *at) noexcept nogil:
    number.end = at
    return NULL


cdef Py_ssize_t leading_zeros(const unsigned char *at, const unsigned char *end) noexcept nogil:
    cdef Py_ssize_t count = 0
    while at < end and (at[0] == c"0" or at[0] == c"."):
        count += at[0] == c"0"
        at += 1
    return count


cdef const unsigned char *read_number(const unsigned char *at, const unsigned char *end, Number *number) noexcept nogil:
    cdef uint64_t digits
    cdef const unsigned char *first
    cdef Py_ssize_t count
    number.start = at
    number.negative = at < end and at[0] == c"-"
    first = at + number.negative
    if not is_digit(first, end):
        return wrong(number, first)
    digits = first[0] - 48
    at = first + 1
    if is_digit(at, end) and digits:
        at = take_digits(at, end, &digits)
    count = at - first
    number.exponent = 0
    number.integer = True
    if at < end and at[0] == c".":
        first = at + 1
        at = take_digits(first, end, &digits)
        if at == first:
            return wrong(number, at)
        count += at - first
        number.exponent = <int>(first - at) if at - first < FAR else -FAR
        number.integer = False
    number.digits = digits
    number.exact = count <= MOST_DIGITS or count - leading_zeros(number.start + number.negative, at) <= MOST_DIGITS
    if at < end and at[0] | 32 == c"e":
        at = read_exponent(at + 1, end, number)
        if at is NULL:
            return NULL
    number.end = at
    return at


cdef const unsigned char *read_exponent(
    const unsigned char *at, const unsigned char *end, Number *number
) noexcept nogil:
    cdef int exponent = 0
    cdef bint negative = at < end and at[0] == c"-"
    if negative or at < end and at[0] == c"+":
        at += 1
    if not is_digit(at, end):
        return wrong(number, at)
    while is_digit(at, end):
        if exponent < FAR:
            exponent = 10 * exponent + (at[0] - 48)
        at += 1
    number.exponent += -exponent if negative else exponent
    number.integer = False
    return at


cdef bint fits_64_bits(Number *number) noexcept nogil:
    # Of 20 digits, `digits` holds the number modulo 2^64: between 10^19 and 2^64 it is itself, above it is less.
    return number.exact or (
        number.end - number.start - number.negative == 20
        and number.start[number.negative] == c"1"
        and number.digits >= <uint64_t>10000000000000000000
    )


cdef double double_of(Number *number) except? -1:
    cdef double value = 0
    cdef uint64_t bits
    cdef bint sure
    if not number.exact:
        return parse(number)
    if number.digits:
        if not LOWEST <= number.exponent <= HIGHEST:
            return parse(number)
        bits = nearest(number.digits, number.exponent, &sure)
        if not sure:
            return parse(number)
        memcpy(&value, &bits, 8)
    return with_sign(value, number.negative)


cdef inline double with_sign(double value, bint negative) noexcept nogil:
    """Without a branch: signs can't be foretold."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    bits |= <uint64_t>negative << 63
    memcpy(&value, &bits, 8)
    return value


cdef double parse(Number *number) except? -1:
    cdef char[LONGEST_NUMBER + 1] text
    cdef size_t size = number.end - number.start
    if size > LONGEST_NUMBER:
        raise ValueError(f"number of {size} characters, expected at most {LONGEST_NUMBER}")
    memcpy(text, number.start, size)
    text[size] = 0
    return PyOS_string_to_double(text, NULL, NULL)


cdef inline uint16_t narrowed(double value, int bits, int lowest) noexcept nogil:
    """Exponent and `bits` of significand of a positive value; `lowest` is the exponent of the smallest normal one."""
    cdef int exponent
    cdef unsigned int made
    if value == 0:
        return 0
    exponent = ilogb(value)
    if exponent > 1 - lowest:
        return <uint16_t>((3 - 2 * lowest) << bits)
    if exponent < lowest:
        exponent = lowest
    # A significand that rounds up to the next power of two carries into the exponent, as it should.
    made = (<unsigned int>(exponent - lowest) << bits) + <unsigned int>rint(ldexp(value, bits - exponent))
    return <uint16_t>made


cdef uint16_t half_of(double value) noexcept nogil:
    cdef uint16_t sign = 0x8000 if is_negative(value) else 0
    if isnan(value):
        return sign | 0x7E00
    return sign | (0x7C00 if isinf(value) else narrowed(fabs(value), 10, -14))


cdef uint16_t brain_of(double value) noexcept nogil:
    cdef uint16_t sign = 0x8000 if is_negative(value) else 0
    if isnan(value):
        return sign | 0x7FC0
    return sign | (0x7F80 if isinf(value) else narrowed(fabs(value), 7, -126))


cdef inline bint is_negative(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits >> 63


cdef double half_value(uint16_t half) noexcept nogil:
    cdef int exponent = half >> 10 & 31, significand = half & 1023
    cdef double value
    if exponent == 31:
        value = NAN if significand else INFINITY
    elif exponent:
        value = ldexp(1024 + significand, exponent - 25)
    else:
        value = ldexp(significand, -24)
    return -value if half >> 15 else value


cdef double brain_value(uint16_t brain) noexcept nogil:
    cdef unsigned int bits = <unsigned int>brain << 16
    cdef float single
    memcpy(&single, &bits, 4)
    return single
