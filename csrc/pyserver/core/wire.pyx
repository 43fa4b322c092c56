"""ModelInferRequest and ModelInferResponse, between protobuf's wire format and plain Python (spec 2.2).

A tensor is (name, datatype, shape, parameters or None, contents or None), a requested output (name, parameters or
None). Parameters are dicts of bool, int, float and str; one without a value is None. Raw contents are views of the
message that was received.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t

from pyserver.core.contents cimport Contents as ContentsType, read_contents
from pyserver.core.fields cimport (
    LEN, VARINT, Cursor, count_item, enter, fail, read_length, read_tag, read_text, read_varint, skip,
)
from pyserver.core.parameters cimport parameters_size, put_parameters, read_parameter
from pyserver.core.tensor cimport flat
from pyserver.core.writer cimport (
    Writer, buffer_size, field_size, numbers_size, put_buffer, put_head, put_numbers, put_text, text_size,
)

from pyserver.core.contents import Contents
from pyserver.core.fields import WireError

cdef enum:
    # Tensors, parameters and raw contents of one message, together: a few bytes each may not take much memory.
    MOST_ITEMS = 100_000
    MOST_DIMENSIONS = 256
    # A view costs more than a copy of so few bytes.
    SMALL = 512

MAX_ITEMS = MOST_ITEMS
MAX_DIMENSIONS = MOST_DIMENSIONS


# Field number << 3 | wire type.
cdef enum:
    MODEL_NAME = 1 << 3 | LEN
    MODEL_VERSION = 2 << 3 | LEN
    ID = 3 << 3 | LEN
    PARAMETERS = 4 << 3 | LEN
    TENSOR = 5 << 3 | LEN
    REQUEST_OUTPUT = 6 << 3 | LEN
    REQUEST_RAW = 7 << 3 | LEN
    RESPONSE_RAW = 6 << 3 | LEN
    STREAMED_RESPONSE = 2 << 3 | LEN

    TENSOR_NAME = 1 << 3 | LEN
    TENSOR_DATATYPE = 2 << 3 | LEN
    TENSOR_DIMENSION = 3 << 3 | VARINT
    TENSOR_SHAPE = 3 << 3 | LEN
    TENSOR_PARAMETERS = 4 << 3 | LEN
    TENSOR_CONTENTS = 5 << 3 | LEN

    OUTPUT_NAME = 1 << 3 | LEN
    OUTPUT_PARAMETERS = 2 << 3 | LEN


cdef class Message:
    """What ModelInferRequest and ModelInferResponse share.

    `raw` holds a buffer for each of raw_input_contents or raw_output_contents: views of the message, but for small
    ones, which are bytes.
    """

    cdef readonly str model_name
    cdef readonly str model_version
    cdef readonly str id
    cdef readonly dict parameters
    cdef readonly list raw


cdef class Request(Message):
    """A ModelInferRequest: its `inputs` are tensors, its `outputs` requested outputs."""

    cdef readonly list inputs
    cdef readonly list outputs


cdef class Response(Message):
    """A ModelInferResponse: its `outputs` are tensors."""

    cdef readonly list outputs


def decode_request(data):
    """The Request in `data`, a buffer. WireError (a ValueError) where it holds none.

    Fields that aren't known are skipped. Refused are also shapes of over MAX_DIMENSIONS, and over MAX_ITEMS tensors,
    parameters and raw contents.
    """
    cdef Request made = Request.__new__(Request)
    made.inputs = []
    made.outputs = []
    decode(data, made, REQUEST_RAW)
    return made


def decode_response(data):
    """The Response in `data`, a buffer; as `decode_request`."""
    cdef Response made = Response.__new__(Response)
    made.outputs = []
    decode(data, made, RESPONSE_RAW)
    return made


cdef int decode(object data, Message made, unsigned int raw_tag) except -1:
    cdef list tensors = (<Request>made).inputs if raw_tag == REQUEST_RAW else (<Response>made).outputs
    cdef Cursor cursor
    cdef Py_buffer view
    cdef unsigned int tag
    made.model_name = made.model_version = made.id = ""
    made.parameters = {}
    made.raw = []
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        cursor.start = cursor.at = <const unsigned char *>view.buf
        cursor.end = cursor.start + view.len
        cursor.items = MOST_ITEMS
        while cursor.at < cursor.end:
            tag = read_tag(&cursor)
            if tag == TENSOR:
                tensors.append(read_tensor(&cursor))
            elif tag == raw_tag:
                made.raw.append(read_raw(&cursor, data))
            elif tag == REQUEST_OUTPUT:
                (<Request>made).outputs.append(read_output(&cursor))
            else:
                read_head(&cursor, tag, made)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int read_head(Cursor *cursor, unsigned int tag, Message made) except -1:
    if tag == MODEL_NAME:
        made.model_name = read_text(cursor)
    elif tag == MODEL_VERSION:
        made.model_version = read_text(cursor)
    elif tag == ID:
        made.id = read_text(cursor)
    elif tag == PARAMETERS:
        read_parameter(cursor, made.parameters)
    else:
        skip(cursor, tag, 8 if isinstance(made, Request) else 7)
    return 0


cdef object read_raw(Cursor *cursor, object data):
    cdef Py_ssize_t size = read_length(cursor)
    cdef const unsigned char *first = cursor.at
    count_item(cursor)
    cursor.at += size
    if size <= SMALL:
        return PyBytes_FromStringAndSize(<const char *>first, size)
    return flat(data)[first - cursor.start : cursor.at - cursor.start]


cdef tuple read_tensor(Cursor *cursor):
    cdef const unsigned char *outer = enter(cursor)
    cdef str name = "", datatype = ""
    cdef tuple shape = ()
    cdef dict parameters = None
    cdef ContentsType contents = None
    cdef unsigned int tag
    count_item(cursor)
    while cursor.at < cursor.end:
        tag = read_tag(cursor)
        if tag == TENSOR_NAME:
            name = read_text(cursor)
        elif tag == TENSOR_DATATYPE:
            datatype = read_text(cursor)
        elif tag == TENSOR_SHAPE:
            shape = read_shape(cursor, shape)
        elif tag == TENSOR_DIMENSION:
            shape = add_dimensions(cursor, shape, 1)
        elif tag == TENSOR_PARAMETERS:
            parameters = {} if parameters is None else parameters
            read_parameter(cursor, parameters)
        elif tag == TENSOR_CONTENTS:
            contents = ContentsType.__new__(ContentsType) if contents is None else contents
            read_contents(cursor, contents)
        else:
            skip(cursor, tag, 6)
    cursor.end = outer
    return name, datatype, shape, parameters, contents


cdef tuple read_shape(Cursor *cursor, tuple shape):
    cdef const unsigned char *outer = enter(cursor)
    cdef const unsigned char *at = cursor.at
    cdef Py_ssize_t count = 0
    while at < cursor.end:
        count += at[0] < 0x80
        at += 1
    shape = add_dimensions(cursor, shape, count)
    if cursor.at != cursor.end:
        fail(cursor, "varint is cut", cursor.at)
    cursor.end = outer
    return shape


cdef tuple add_dimensions(Cursor *cursor, tuple shape, Py_ssize_t count):
    """`shape` and the next `count` varints."""
    cdef tuple made
    cdef object item
    cdef Py_ssize_t n
    if len(shape) + count > MOST_DIMENSIONS:
        fail(cursor, f"shape has more than {MAX_DIMENSIONS} dimensions", cursor.at)
    made = PyTuple_New(count)
    for n in range(count):
        item = <int64_t>read_varint(cursor)
        Py_INCREF(item)
        PyTuple_SET_ITEM(made, n, item)
    return shape + made if shape else made


cdef tuple read_output(Cursor *cursor):
    cdef const unsigned char *outer = enter(cursor)
    cdef str name = ""
    cdef dict parameters = None
    cdef unsigned int tag
    count_item(cursor)
    while cursor.at < cursor.end:
        tag = read_tag(cursor)
        if tag == OUTPUT_NAME:
            name = read_text(cursor)
        elif tag == OUTPUT_PARAMETERS:
            parameters = {} if parameters is None else parameters
            read_parameter(cursor, parameters)
        else:
            skip(cursor, tag, 3)
    cursor.end = outer
    return name, parameters


def encode_request(model_name, model_version, id, parameters, inputs, outputs, raw):
    """A ModelInferRequest of `inputs` (name, datatype, shape, parameters), `outputs` (name, parameters), `raw` buffers.

    Parameters are None or a dict. ValueError or OverflowError for a parameter that no InferParameter holds.
    """
    return encode(model_name, model_version, id, parameters, inputs, outputs, raw, REQUEST_RAW, False)


def encode_response(model_name, model_version, id, parameters, outputs, raw, bint streamed=False):
    """A ModelInferResponse of `outputs` (name, datatype, shape, parameters) and `raw`, a buffer for each.

    With `streamed`, a ModelStreamInferResponse that holds it. Errors as `encode_request`.
    """
    return encode(model_name, model_version, id, parameters, outputs, (), raw, RESPONSE_RAW, streamed)


cdef bytes encode(
    model_name, model_version, id, parameters, tensors, outputs, raw, unsigned char raw_tag, bint streamed
):
    cdef Py_ssize_t size = text_size(model_name) + text_size(model_version) + text_size(id)
    cdef Writer writer
    size += parameters_size(parameters)
    for name, datatype, shape, given in tensors:
        size += field_size(tensor_size(name, datatype, shape, given))
    for name, given in outputs:
        size += field_size(text_size(name) + parameters_size(given))
    for buffer in raw:
        size += field_size(buffer_size(buffer))
    made = PyBytes_FromStringAndSize(NULL, field_size(size) if streamed else size)
    writer.at = PyBytes_AS_STRING(made)
    writer.end = writer.at + len(made)
    if streamed:
        put_head(&writer, STREAMED_RESPONSE, size)
    put_text(&writer, MODEL_NAME, model_name)
    put_text(&writer, MODEL_VERSION, model_version)
    put_text(&writer, ID, id)
    put_parameters(&writer, PARAMETERS, parameters)
    for name, datatype, shape, given in tensors:
        put_tensor(&writer, name, datatype, shape, given)
    for name, given in outputs:
        put_head(&writer, REQUEST_OUTPUT, text_size(name) + parameters_size(given))
        put_text(&writer, OUTPUT_NAME, name)
        put_parameters(&writer, OUTPUT_PARAMETERS, given)
    for buffer in raw:
        put_head(&writer, raw_tag, buffer_size(buffer))
        put_buffer(&writer, buffer)
    if writer.at != writer.end:
        raise ValueError("what is encoded has changed meanwhile")
    return made


cdef Py_ssize_t tensor_size(name, datatype, shape, parameters) except -1:
    cdef Py_ssize_t numbers = numbers_size(shape)
    return (
        text_size(name) + text_size(datatype) + (field_size(numbers) if numbers else 0) + parameters_size(parameters)
    )


cdef int put_tensor(Writer *writer, name, datatype, shape, parameters) except -1:
    cdef Py_ssize_t numbers = numbers_size(shape)
    put_head(writer, TENSOR, tensor_size(name, datatype, shape, parameters))
    put_text(writer, TENSOR_NAME, name)
    put_text(writer, TENSOR_DATATYPE, datatype)
    if numbers:
        put_head(writer, TENSOR_SHAPE, numbers)
        put_numbers(writer, shape)
    return put_parameters(writer, TENSOR_PARAMETERS, parameters)
