# Walking through BYTES elements.

cdef enum Fault:
    NONE = 0
    FEW = 1
    MANY = 2
    LENGTH = 3
    DATA = 4


# How a walk went: `fault`, at which element, and the two numbers that its message tells.
cdef struct Walk:
    Fault fault
    Py_ssize_t element
    Py_ssize_t expected
    Py_ssize_t found


# The size of the first `count` elements of `data`; -1 with `walk` filled where they aren't all there.
cdef Py_ssize_t walk_elements(const unsigned char *data, Py_ssize_t size, Py_ssize_t count, Walk *walk) noexcept nogil

# Raise the ElementsError that `walk` tells of.
cdef int refuse(Walk *walk) except -1
