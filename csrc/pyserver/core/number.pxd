# Decimal text to binary numbers.

from libc.stdint cimport uint16_t, uint64_t


cdef enum:
    # Characters of the longest number that `double_of` takes.
    LONGEST_NUMBER = 4096


# A JSON number as it stands in the text: value = (-1 if negative) * digits * 10^exponent.
cdef struct Number:
    uint64_t digits
    int exponent
    bint negative
    bint integer  # neither a point nor an exponent
    bint exact  # all of the digits are in `digits`; if not, only the text tells the value
    const unsigned char *start
    const unsigned char *end


# Read the JSON number at `at`. Returns the byte behind it, or NULL where the text is none, with the byte that is wrong
# in `number.end`.
cdef const unsigned char *read_number(const unsigned char *at, const unsigned char *end, Number *number) noexcept nogil

# Whether an integer is below 2^64 but for its sign: `digits` then holds it, `exact` or not.
cdef bint fits_64_bits(Number *number) noexcept nogil

# The nearest double (ties to even), infinite where it is too big. ValueError above LONGEST_NUMBER characters.
cdef double double_of(Number *number) except? -1

# `value` rounded once, to nearest (ties to even), in the layouts FP16 and BF16.
cdef uint16_t half_of(double value) noexcept nogil
cdef uint16_t brain_of(double value) noexcept nogil

# And back.
cdef double half_value(uint16_t half) noexcept nogil
cdef double brain_value(uint16_t brain) noexcept nogil
