# Whole numbers times powers of ten, correctly rounded to doubles.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    static inline uint64_t multiply_wide(uint64_t a, uint64_t b, uint64_t *low) {
        unsigned __int128 product = (unsigned __int128)a * b;
        *low = (uint64_t)product;
        return (uint64_t)(product >> 64);
    }
    """
    uint64_t multiply_wide(uint64_t a, uint64_t b, uint64_t *low) nogil
    int zeros_before "__builtin_clzll"(uint64_t) nogil


cdef enum:
    # Digits below 2^64 times these are in the range of normal doubles.
    LOWEST = -300
    HIGHEST = 288
    # 5^27 is the last power of five below 2^64, 5^55 the last below 2^128.
    LAST_DIVISOR = 27
    LAST_EXACT = 55


# 10^n >= 2^binary, and the first 128 bits of it: rounded up, but for those from 0 to LAST_EXACT, which have no more.
cdef struct Power:
    uint64_t high
    uint64_t low
    int binary


# 10^LOWEST to 10^HIGHEST.
cdef Power[589] powers


# The bits of the double nearest to digits * 10^exponent, ties to even; `exponent` is from LOWEST to HIGHEST. Digits of
# 0 make something, but not 0.
#
# high:middle:low is the product of the digits with the power's first bits. Where the power was rounded up, the true
# product is less than 1 in `middle` below it. That matters only where nothing stands behind the bit that is rounded:
# then the product may or may not be a tie, or a double, which `sure` tells. A quotient digits / 10^n is one, or (n up
# to LAST_DIVISOR) it is further than that from any.
cdef inline uint64_t nearest(uint64_t digits, int exponent, bint *sure) noexcept nogil:
    cdef uint64_t high, middle, low, carry, rest, bits
    cdef Power *power = powers + (exponent - LOWEST)
    cdef int zeros = zeros_before(digits | 1), top
    digits <<= zeros
    high = multiply_wide(digits, power.high, &middle)
    carry = multiply_wide(digits, power.low, &low)
    middle += carry
    high += middle < carry
    top = <int>(high >> 63)
    # 53 bits and the one to be rounded; the rest of `high` moves to the top.
    bits = high >> 9 + top
    rest = high << 55 - top | middle | (low if exponent >= 0 else 0)
    sure[0] = rest != 0 or -LAST_DIVISOR <= exponent <= LAST_EXACT
    # The leading bit (bit 52) adds the one that is missing here to the exponent, and so does a carry.
    return (<uint64_t>(1085 - zeros + top + power.binary) << 52) + (bits >> 1) + (bits & (bits >> 1 | (rest != 0)) & 1)
