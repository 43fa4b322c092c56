# Datatypes as numbers and sizes that cannot overflow: what the other modules of the core share.

from libc.stdint cimport int64_t


# Numbered as in Triton's C API.
cdef enum Kind:
    INVALID = 0
    BOOL = 1
    UINT8 = 2
    UINT16 = 3
    UINT32 = 4
    UINT64 = 5
    INT8 = 6
    INT16 = 7
    INT32 = 8
    INT64 = 9
    FP16 = 10
    FP32 = 11
    FP64 = 12
    BYTES = 13
    BF16 = 14


# The kind that a datatype's name stands for; INVALID for anything else.
cdef Kind kind_of(object datatype)

# The name of a kind.
cdef str name_of(Kind kind)

# Bytes of one element; 0 for BYTES and INVALID.
cdef Py_ssize_t size_of(Kind kind) noexcept nogil

# Elements of a shape (any sequence of ints): ValueError, OverflowError as `element_count`.
cdef int64_t count_of(object shape) except -1

# A flat memoryview of bytes of any contiguous buffer, without a copy.
cdef memoryview flat(object buffer)
