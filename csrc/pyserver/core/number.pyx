"""Decimal text to binary numbers, correctly rounded. Only for the other modules of the core.

A number of up to 19 digits is digits * 10^exponent with digits < 2^64. Three ways to its double, each where the one
before can't:

1. digits and 10^|exponent| are both doubles without error: one multiplication or division rounds once, correctly
   (W. D. Clinger, How to Read Floating Point Numbers Accurately, 1990).
2. The product of the digits with the first 128 bits of 10^exponent is known but for its last bit or so. Unless a tie
   or a carry hangs on that bit, the product rounds to the right double (after D. Lemire, Number Parsing at a Gigabyte
   per Second, 2021).
3. CPython's own conversion.
"""

from cpython.object cimport PyObject
from libc.math cimport INFINITY, NAN, fabs, ilogb, isinf, isnan, ldexp, rint
from libc.stdint cimport int16_t, uint16_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, PyObject *overflow) except? -1

cdef extern from *:
    """
    static inline uint64_t multiply_wide(uint64_t a, uint64_t b, uint64_t *low) {
        unsigned __int128 product = (unsigned __int128)a * b;
        *low = (uint64_t)product;
        return (uint64_t)(product >> 64);
    }
    """
    uint64_t multiply_wide(uint64_t a, uint64_t b, uint64_t *low) nogil
    int trailing_zeros "__builtin_ctzll"(uint64_t) nogil
    int leading_zeros "__builtin_clzll"(uint64_t) nogil


cdef enum:
    MOST_DIGITS = 19
    # Far enough within the range of normal doubles, whatever the digits.
    LOWEST = -300
    HIGHEST = 288
    # 5^55 is the last power of five below 2^128.
    LAST_EXACT = 55
    # An exponent beyond this is infinity or zero, whatever the digits; it must not overflow an int.
    FAR = 100000

cdef double[23] _TENS = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
]

cdef uint64_t[8] _WHOLE = [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000]

# 10^n for n in LOWEST..HIGHEST: 2^_binary[n] <= 10^n, and the first 128 bits of it.
cdef uint64_t[HIGHEST - LOWEST + 1] _high
cdef uint64_t[HIGHEST - LOWEST + 1] _low
cdef int16_t[HIGHEST - LOWEST + 1] _binary


cdef int fill_tables() except -1:
    for n in range(LOWEST, HIGHEST + 1):
        if n >= 0:
            power = 10**n
            binary = power.bit_length() - 1
            top = power << 127 - binary if binary <= 127 else power >> binary - 127
        else:
            divisor = 10**-n
            binary = -divisor.bit_length()
            top = (1 << 127 - binary) // divisor
        _high[n - LOWEST] = top >> 64
        _low[n - LOWEST] = top & 0xFFFFFFFFFFFFFFFF
        _binary[n - LOWEST] = binary
    return 0


fill_tables()


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
    number.exact = count <= MOST_DIGITS
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
    cdef double value
    cdef int exponent = number.exponent
    if number.exact and number.digits <= <uint64_t>1 << 53 and -22 <= exponent <= 22:
        value = <double>number.digits
        value = value / _TENS[-exponent] if exponent < 0 else value * _TENS[exponent]
    elif number.exact and number.digits == 0:
        value = 0
    elif not (
        number.exact and LOWEST <= exponent <= HIGHEST and rounded_product(number.digits, exponent, &value)
    ):
        return parse(number)
    return with_sign(value, number.negative)


cdef inline double with_sign(double value, bint negative) noexcept nogil:
    """Without a branch: signs can't be foretold."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    bits |= <uint64_t>negative << 63
    memcpy(&value, &bits, 8)
    return value


cdef bint rounded_product(uint64_t digits, int exponent, double *value) noexcept nogil:
    """digits * 10^exponent to nearest, ties to even; False where 128 bits of the power don't decide it."""
    cdef uint64_t high, middle, low, carry, rest, bits, unused
    cdef int zeros = leading_zeros(digits), n = exponent - LOWEST, top, drop, binary
    cdef bint whole = 0 <= exponent <= LAST_EXACT
    digits <<= zeros
    # high:middle:low = digits * power. Of a power that was cut, the true product is less than 1 in `middle` above it.
    high = multiply_wide(digits, _high[n], &middle)
    carry = multiply_wide(digits, _low[n], &low)
    middle += carry
    high += middle < carry
    if not whole and middle == <uint64_t>-1:
        return False
    top = <int>(high >> 63)
    drop = 10 + top
    rest = (high & ((<uint64_t>1 << (drop - 1)) - 1)) | middle | (low if whole else 0)
    bits = high >> drop
    if high >> (drop - 1) & 1:
        if rest == 0 and not whole:
            return False
        bits += 1 if rest != 0 else bits & 1
    # The leading bit of `bits` (bit 52) adds the one that is missing here to the exponent, and so does a carry.
    binary = 63 - zeros + top + _binary[n] + 1022
    if not 0 < binary < 2045:
        return False
    bits += <uint64_t>binary << 52
    memcpy(value, &bits, 8)
    return True


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
