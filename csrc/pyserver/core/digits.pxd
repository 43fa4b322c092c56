# Digits, many at a time. SSE2 where the compiler has it (any x86-64), plain words elsewhere.

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* From n places after ones_from_24 on: 24 bytes of which the last n are all ones. */
    static const unsigned char ones_from_24[48] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    };

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

    static inline __m128i by_eights(const unsigned char *first, const unsigned char *second) {
        return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)first), _mm_loadl_epi64((const __m128i *)second));
    }

    /* 16 digits to 4 numbers of 4 digits. */
    static inline __m128i joined_by_4(__m128i text, __m128i kept) {
        __m128i digits = _mm_and_si128(_mm_xor_si128(text, _mm_set1_epi8('0')), kept);
        __m128i tens = _mm_mullo_epi16(_mm_and_si128(digits, _mm_set1_epi16(255)), _mm_set1_epi16(10));
        return _mm_madd_epi16(_mm_add_epi16(tens, _mm_srli_epi16(digits, 8)), _mm_set1_epi32(1 << 16 | 100));
    }

    static inline void parts_of(const unsigned char *point, int whole, const unsigned char *end, int places,
                                uint64_t *parts) {
        const unsigned char *kept = ones_from_24 + places;
        __m128i upper = joined_by_4(by_eights(point - 8, end - 24), by_eights(ones_from_24 + 16 + whole, kept));
        __m128i lower = joined_by_4(_mm_loadu_si128((const __m128i *)(end - 16)),
                                    _mm_loadu_si128((const __m128i *)(kept + 8)));
        __m128i eights = _mm_madd_epi16(_mm_packs_epi32(upper, lower), _mm_set1_epi32(1 << 16 | 10000));
        uint64_t pair;
        _mm_storel_epi64((__m128i *)&pair, eights);
        parts[0] = (uint32_t)pair;
        parts[1] = pair >> 32;
        _mm_storel_epi64((__m128i *)&pair, _mm_unpackhi_epi64(eights, eights));
        parts[2] = (uint32_t)pair;
        parts[3] = pair >> 32;
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

    static inline uint64_t eight_of(const unsigned char *text, const unsigned char *kept) {
        uint64_t values, mask;
        memcpy(&values, text, 8);
        memcpy(&mask, kept, 8);
        values = (values ^ 0x3030303030303030) & mask;
        values = (values & 0x00FF00FF00FF00FF) * 10 + (values >> 8 & 0x00FF00FF00FF00FF);
        values = (values & 0x0000FFFF0000FFFF) * 100 + (values >> 16 & 0x0000FFFF0000FFFF);
        return (values & 0xFFFFFFFF) * 10000 + (values >> 32);
    }

    static inline void parts_of(const unsigned char *point, int whole, const unsigned char *end, int places,
                                uint64_t *parts) {
        const unsigned char *kept = ones_from_24 + places;
        parts[0] = eight_of(point - 8, ones_from_24 + 16 + whole);
        parts[1] = eight_of(end - 24, kept);
        parts[2] = eight_of(end - 16, kept + 8);
        parts[3] = eight_of(end - 8, kept + 16);
    }
    #endif
    """
    # Which of the 32 characters at `at` aren't digits: the first in the lowest bit.
    uint32_t others_of_32(const unsigned char *at) nogil

    # The number that `whole` digits (8 at most) before `point` make, and those that 8 and 8 and 8 before `end` make, of
    # which only the last `places` count (24 at most). 8 bytes before `point` and 24 before `end` are read.
    void parts_of(const unsigned char *point, int whole, const unsigned char *end, int places, uint64_t *parts) nogil
