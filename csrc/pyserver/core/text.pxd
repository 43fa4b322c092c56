# UTF-8: checking it, and making strings of it.

# The str of `size` bytes of UTF-8; UnicodeDecodeError where they are none. Short ASCII comes from a cache: names and
# keys are the same in every request, and so their objects, hashes included.
cdef str text_of(const unsigned char *data, Py_ssize_t size)

# Where the first byte stands that isn't part of valid UTF-8; -1 when all is valid.
cdef Py_ssize_t invalid_at(const unsigned char *data, Py_ssize_t size) noexcept nogil

# The UTF-8 of a code point that is no surrogate, written to `out` (room for 4); its length.
cdef int encode_point(unsigned int point, unsigned char *out) noexcept nogil
