"""UTF-8: checking it, and making strings of it. Only for the other modules of the core."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_GET_LENGTH
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    bint is_ascii "PyUnicode_IS_ASCII"(object text)
    const char *one_byte_data "PyUnicode_1BYTE_DATA"(object text)

cdef enum:
    LONGEST = 32
    SLOT_BITS = 10

# Direct-mapped: a string that falls on another's slot takes its place.
cdef PyObject *_slots[1 << SLOT_BITS]


cdef inline uint64_t load(const unsigned char *data, size_t size) noexcept nogil:
    cdef uint64_t word = 0
    memcpy(&word, data, size)
    return word


cdef inline size_t slot_of(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """A slot by length, beginning and end: which of two similar names wins is of no consequence."""
    cdef uint64_t word
    if size >= 8:
        word = load(data, 8) ^ (load(data + size - 8, 8) << 1) ^ load(data + (size >> 1) - 4, 8) << 2
    elif size >= 4:
        word = load(data, 4) ^ load(data + size - 4, 4) << 24
    else:
        word = data[0] | <uint64_t>data[size >> 1] << 8 | <uint64_t>data[size - 1] << 16
    return <size_t>(((word ^ <uint64_t>size) * <uint64_t>0x9E3779B97F4A7C15) >> (64 - SLOT_BITS))


cdef str text_of(const unsigned char *data, Py_ssize_t size):
    cdef PyObject **slot
    if size == 0:
        return ""
    if size > LONGEST:
        return PyUnicode_DecodeUTF8(<const char *>data, size, NULL)
    slot = &_slots[slot_of(data, size)]
    if slot[0] is not NULL:
        kept = <str>slot[0]
        if PyUnicode_GET_LENGTH(kept) == size and memcmp(one_byte_data(kept), data, size) == 0:
            return kept
    text = PyUnicode_DecodeUTF8(<const char *>data, size, NULL)
    if is_ascii(text):
        Py_INCREF(text)
        old = slot[0]
        slot[0] = <PyObject *>text
        Py_XDECREF(old)
    return text


cdef Py_ssize_t invalid_at(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0, length, n
    cdef unsigned char first, low, high
    while at < size:
        if size - at >= 8 and not load(data + at, 8) & <uint64_t>0x8080808080808080:
            at += 8
            continue
        first = data[at]
        if first < 0x80:
            at += 1
            continue
        # The second byte's range keeps out overlong forms, surrogates and what lies above U+10FFFF.
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            length = 2
        elif 0xE0 <= first <= 0xEF:
            length = 3
            if first == 0xE0:
                low = 0xA0
            elif first == 0xED:
                high = 0x9F
        elif 0xF0 <= first <= 0xF4:
            length = 4
            if first == 0xF0:
                low = 0x90
            elif first == 0xF4:
                high = 0x8F
        else:
            return at
        if size - at < length or not low <= data[at + 1] <= high:
            return at
        for n in range(2, length):
            if data[at + n] & 0xC0 != 0x80:
                return at
        at += length
    return -1


cdef int encode_point(unsigned int point, unsigned char *out) noexcept nogil:
    if point < 0x80:
        out[0] = <unsigned char>point
        return 1
    if point < 0x800:
        out[0] = <unsigned char>(0xC0 | point >> 6)
        out[1] = <unsigned char>(0x80 | point & 0x3F)
        return 2
    if point < 0x10000:
        out[0] = <unsigned char>(0xE0 | point >> 12)
        out[1] = <unsigned char>(0x80 | point >> 6 & 0x3F)
        out[2] = <unsigned char>(0x80 | point & 0x3F)
        return 3
    out[0] = <unsigned char>(0xF0 | point >> 18)
    out[1] = <unsigned char>(0x80 | point >> 12 & 0x3F)
    out[2] = <unsigned char>(0x80 | point >> 6 & 0x3F)
    out[3] = <unsigned char>(0x80 | point & 0x3F)
    return 4
