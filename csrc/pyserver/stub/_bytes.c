/* BYTES elements: each behind its length, a 4-byte little-endian integer.

   Written against the limited C API of CPython 3.8, so that one file loads in every interpreter that a model's
   environment may have. It takes and gives bytes objects and lists alone: the buffer protocol is not in that API. Its
   twin in Python, and its reference in the tests, is pyserver.stub.bytes_codec. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03080000
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { LENGTH = 4 };

static uint32_t read_length(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void write_length(unsigned char *at, uint32_t length)
{
    at[0] = (unsigned char)length;
    at[1] = (unsigned char)(length >> 8);
    at[2] = (unsigned char)(length >> 16);
    at[3] = (unsigned char)(length >> 24);
}

/* A new reference: the element itself if it is bytes, else str(element) in UTF-8. */
static PyObject *encoded(PyObject *element)
{
    PyObject *text, *bytes;

    if (PyBytes_Check(element)) {
        Py_INCREF(element);
        return element;
    }
    text = PyObject_Str(element);
    if (text == NULL)
        return NULL;
    bytes = PyUnicode_AsUTF8String(text);
    Py_DECREF(text);
    return bytes;
}

/* A new list of the elements as bytes; *total becomes the size of their packed form. A snapshot: str(element) is the
   model's code, which may change the list that it stands in. */
static PyObject *encode_all(PyObject *elements, Py_ssize_t *total)
{
    Py_ssize_t count = PyList_Size(elements), i, size, sum = 0;
    PyObject *bytes, *element, *all = PyList_New(count);

    if (all == NULL)
        return NULL;
    for (i = 0; i < count; i++) {
        element = PyList_GetItem(elements, i);
        if (element == NULL)
            goto fail;
        Py_INCREF(element);
        bytes = encoded(element);
        Py_DECREF(element);
        if (bytes == NULL || PyList_SetItem(all, i, bytes) < 0)
            goto fail;
        size = PyBytes_Size(bytes);
        if ((uint64_t)size > UINT32_MAX) {
            PyErr_Format(PyExc_ValueError, "a BYTES element has %zd bytes, the most is 4294967295", size);
            goto fail;
        }
        if (size > PY_SSIZE_T_MAX - LENGTH - sum) {
            PyErr_NoMemory();
            goto fail;
        }
        sum += LENGTH + size;
    }
    *total = sum;
    return all;
fail:
    Py_DECREF(all);
    return NULL;
}

static PyObject *pack(PyObject *module, PyObject *elements)
{
    Py_ssize_t count, i, size, total = 0;
    PyObject *all, *packed;
    unsigned char *at;
    char *data;

    (void)module;
    if (!PyList_Check(elements))
        return PyErr_Format(PyExc_TypeError, "pack() takes a list");
    all = encode_all(elements, &total);
    if (all == NULL)
        return NULL;
    packed = PyBytes_FromStringAndSize(NULL, total);
    if (packed == NULL)
        goto done;
    at = (unsigned char *)PyBytes_AsString(packed);
    count = PyList_Size(all);
    for (i = 0; i < count; i++) {
        PyBytes_AsStringAndSize(PyList_GetItem(all, i), &data, &size);
        write_length(at, (uint32_t)size);
        memcpy(at + LENGTH, data, (size_t)size);
        at += LENGTH + size;
    }
done:
    Py_DECREF(all);
    return packed;
}

/* How many elements `size` bytes at `data` hold; -1 with a ValueError where they end within one. */
static Py_ssize_t count_elements(const unsigned char *data, Py_ssize_t size)
{
    Py_ssize_t at = 0, count = 0;
    uint32_t length;

    while (at < size) {
        if (size - at < LENGTH) {
            PyErr_Format(PyExc_ValueError, "incomplete string length indicator at byte %zd of %zd", at, size);
            return -1;
        }
        length = read_length(data + at);
        at += LENGTH;
        if ((uint64_t)length > (uint64_t)(size - at)) {
            PyErr_Format(PyExc_ValueError, "incomplete string data: expecting %zd bytes at byte %zd of %zd",
                         (Py_ssize_t)length, at, size);
            return -1;
        }
        at += (Py_ssize_t)length;
        count++;
    }
    return count;
}

static PyObject *unpack(PyObject *module, PyObject *packed)
{
    Py_ssize_t count, i, size, length;
    PyObject *element, *elements;
    unsigned char *data;

    (void)module;
    if (PyBytes_AsStringAndSize(packed, (char **)&data, &size) < 0)
        return NULL;
    count = count_elements(data, size);
    if (count < 0)
        return NULL;
    elements = PyList_New(count);
    if (elements == NULL)
        return NULL;
    for (i = 0; i < count; i++) {
        length = (Py_ssize_t)read_length(data);
        element = PyBytes_FromStringAndSize((char *)data + LENGTH, length);
        if (element == NULL || PyList_SetItem(elements, i, element) < 0) {
            Py_DECREF(elements);
            return NULL;
        }
        data += LENGTH + length;
    }
    return elements;
}

static PyMethodDef methods[] = {
    {"pack", pack, METH_O, "The elements of a list one behind the other; str(element) in UTF-8 for what is not bytes."},
    {"unpack", unpack, METH_O, "The list of the elements of packed bytes; ValueError where they end within one."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_bytes", "BYTES tensors, compiled.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__bytes(void)
{
    return PyModuleDef_Init(&definition);
}
