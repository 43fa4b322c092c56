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
    # Far enough within the range of normal doubles, whatever the digits.
    LOWEST = -300
    HIGHEST = 288
    # 5^27 is the last power of five below 2^64, 5^55 the last below 2^128.
    LAST_DIVISOR = 27
    LAST_EXACT = 55


# 2^binary <= 10^n, and the first 128 bits of 10^n; what is cut off is lost but from 10^-27 to 10^-1, rounded up.
cdef struct Power:
    uint64_t high
    uint64_t low
    int binary


# 10^LOWEST to 10^HIGHEST.
cdef Power[589] powers


# The bits of the double nearest to digits * 10^exponent, ties to even. Digits of 0 make something, but not 0.
#
# high:middle:low is the product of the digits with the power's first bits. Of a power that was cut, the true product
# is less than 1 in `middle` above it: `sure` says whether that can't matter. Of one that was rounded up, it is less
# than 1 in `middle` below, which never matters: digits / 10^27 is a tie or a double, or it is further than that from
# the next one (some 5^-27 of its last bit).
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
    sure[0] = -LAST_DIVISOR <= exponent <= LAST_EXACT or middle != <uint64_t>-1 and (rest != 0 or not bits & 1)
    # The leading bit (bit 52) adds the one that is missing here to the exponent, and so does a carry.
    return (<uint64_t>(1085 - zeros + top + power.binary) << 52) + (bits >> 1) + (bits & (bits >> 1 | (rest != 0)) & 1)
