"""Datatypes, shapes and sizes of tensors, and views of their bytes.

Raw layout is the V2 protocol's: little-endian, row-major, no padding (spec 1.5). Every size is checked against
2^63-1, so that what these functions return may be allocated or compared without a second thought.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject


cdef extern from *:
    bint multiply_overflows "__builtin_mul_overflow"(int64_t, int64_t, int64_t *) nogil


DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
    "BF16",
)

cdef tuple _NAMES = ("INVALID", *DATATYPES)
cdef dict _KINDS = {name: kind for kind, name in enumerate(_NAMES) if kind}
cdef Py_ssize_t[15] _SIZES = [0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 0, 2]

# By what numpy calls them: importing numpy takes a tenth of a second and 10 MB, so it waits for who needs arrays.
cdef dict _TYPE_CODES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8", "BYTES": "O", "BF16": "u2",
}
cdef dict _DTYPES = {}
cdef dict _DATATYPES = {}


cdef int load_numpy() except -1:
    import numpy

    for name, code in _TYPE_CODES.items():
        _DTYPES[name] = numpy.dtype(code)
        if name != "BF16":
            _DATATYPES[_DTYPES[name]] = name
    return 0


cdef Kind kind_of(object datatype):
    cdef PyObject *found
    if type(datatype) is not str:
        return INVALID
    found = PyDict_GetItem(_KINDS, datatype)
    return <Kind><int><object>found if found is not NULL else INVALID


cdef str name_of(Kind kind):
    return <str>_NAMES[<int>kind]


cdef Py_ssize_t size_of(Kind kind) noexcept nogil:
    return _SIZES[<int>kind]


cdef int64_t count_of(object shape) except -1:
    cdef int64_t count = 1, dimension
    cdef int overflow
    cdef bint empty = False, too_many = False
    for item in shape:
        if not isinstance(item, int) or isinstance(item, bool):
            raise ValueError(f"shape {list(shape)} has dimension {item!r}, expected an integer")
        dimension = PyLong_AsLongLongAndOverflow(item, &overflow)
        if overflow > 0:
            too_many = True
        elif overflow < 0 or dimension < 0:
            raise ValueError(f"shape {list(shape)} has dimension {item}, expected 0 or more")
        elif dimension == 0:
            empty = True
        elif multiply_overflows(count, dimension, &count):
            too_many = True
    if empty:
        return 0
    if too_many:
        raise OverflowError(
            f"shape {list(shape)} causes total element count to exceed maximum size of 9223372036854775807"
        )
    return count


cdef memoryview flat(object buffer):
    cdef memoryview view = buffer if type(buffer) is memoryview else PyMemoryView_FromObject(buffer)
    if PyMemoryView_GET_BUFFER(view).ndim != 1 or PyMemoryView_GET_BUFFER(view).itemsize != 1:
        view = view.cast("B")
    return view


def itemsize(datatype):
    """Bytes of one element of `datatype`; 0 for BYTES. ValueError for a name that is no datatype."""
    cdef Kind kind = kind_of(datatype)
    if kind == INVALID:
        raise ValueError(f"invalid datatype {datatype!r}, expected one of {', '.join(DATATYPES)}")
    return _SIZES[<int>kind]


def element_count(shape):
    """Elements of a tensor of `shape` (a sequence of ints), 1 for an empty shape.

    ValueError for a dimension that is negative or no int, OverflowError above 2^63-1 elements.
    """
    return count_of(shape)


def byte_size(datatype, shape):
    """Bytes of a tensor of `shape`; ValueError for BYTES, whose size its shape doesn't tell.

    Other errors as `itemsize` and `element_count`, and OverflowError above 2^63-1 bytes.
    """
    cdef int64_t size = itemsize(datatype)
    if size == 0:
        raise ValueError("the byte size of a BYTES tensor isn't given by its shape")
    if multiply_overflows(count_of(shape), size, &size):
        raise OverflowError(f"byte size overflow: {datatype} of shape {list(shape)} exceeds 9223372036854775807 bytes")
    return size


def numpy_dtype(datatype):
    """The numpy dtype of `datatype`: object for BYTES, uint16 (the bare bits) for BF16. ValueError if unknown."""
    itemsize(datatype)
    if not _DTYPES:
        load_numpy()
    return _DTYPES[datatype]


def datatype_of(dtype):
    """The datatype of a numpy dtype: BYTES for object, S, U and StringDType, BF16 for `ml_dtypes.bfloat16`.

    ValueError for one that V2 has no name for, or that isn't little-endian.
    """
    if not _DATATYPES:
        load_numpy()
    found = _DATATYPES.get(dtype)
    if found is not None:
        return found
    if dtype.kind in "SUT":
        return "BYTES"
    if dtype.name == "bfloat16":
        return "BF16"
    raise ValueError(f"dtype '{dtype}' has no V2 datatype, expected a little-endian one of {', '.join(DATATYPES)}")


def as_array(datatype, shape, data):
    """`data` (raw bytes of any buffer) as an ndarray of `shape`: a view, read-only where `data` is.

    BF16 comes as uint16. ValueError for BYTES (see `pyserver.core.bytes.unpack`), and for a size other than `shape`'s.
    """
    cdef Py_ssize_t size = byte_size(datatype, shape)
    view = flat(data)
    if PyMemoryView_GET_BUFFER(view).len != size:
        raise ValueError(f"{datatype} of shape {list(shape)} has {len(view)} bytes, expected {size}")
    import numpy

    return numpy.ndarray(tuple(shape), numpy_dtype(datatype), view)


def address(buffer):
    """The address of a buffer's first byte: tells whether a view lies in an arena."""
    cdef Py_buffer view
    cdef size_t start
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    start = <size_t>view.buf
    PyBuffer_Release(&view)
    return start


class SliceError(ValueError):
    """The sizes don't fill the body.

    `missing` is how many bytes more the tensor `index` wants than there are; negative, with `index` one past the
    last, how many bytes are left over (as -missing).
    """

    def __init__(self, index, missing):
        """`index` and `missing` as above."""
        what = f"tensor {index} wants {missing} more bytes" if missing > 0 else f"{-missing} bytes are left over"
        super().__init__(f"the body doesn't have the size of its tensors: {what}")
        self.index = index
        self.missing = missing


def slices(body, start, sizes):
    """Views of consecutive tensors of `sizes` bytes in `body`, from `start` to exactly its end (spec 1.5).

    SliceError where they end before or behind it; ValueError for a negative size or a start outside `body`.
    """
    cdef memoryview view = flat(body)
    cdef Py_ssize_t end = PyMemoryView_GET_BUFFER(view).len, at = start, size
    cdef list made = []
    if at < 0 or at > end:
        raise ValueError(f"start {at} is outside a body of {end} bytes")
    for item in sizes:
        if item < 0:
            raise ValueError(f"tensor {len(made)} has size {item}, expected 0 or more")
        if item > end - at:
            raise SliceError(len(made), item - (end - at))
        size = item
        made.append(view[at : at + size])
        at += size
    if at != end:
        raise SliceError(len(made), at - end)
    return made
