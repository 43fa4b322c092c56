/* BYTES elements: each behind its length, a 4-byte little-endian integer.

   Written against the limited C API of CPython 3.8, so that one file loads in every interpreter that a model's
   environment may have. The buffer protocol is not in that API: it takes bytes objects and lists, and the memory of an
   object array by its address. Its twin in Python, and its reference in the tests, is pyserver.stub.bytes_codec. */

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

/* Add an element's packed size to *total; -1 with an exception if it, or the sum, is too large. */
static int add_size(PyObject *bytes, Py_ssize_t *total)
{
    Py_ssize_t size = PyBytes_Size(bytes);

    if ((uint64_t)size > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "a BYTES element has %zd bytes, the most is 4294967295", size);
        return -1;
    }
    if (size > PY_SSIZE_T_MAX - LENGTH - *total) {
        PyErr_NoMemory();
        return -1;
    }
    *total += LENGTH + size;
    return 0;
}

/* A new list of the elements as bytes. A snapshot: str(element) is the model's code, which may change the list. */
static PyObject *encode_all(PyObject *elements)
{
    Py_ssize_t count = PyList_Size(elements), i;
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
    }
    return all;
fail:
    Py_DECREF(all);
    return NULL;
}

/* A new reference to a list of bytes alone: the elements themselves where they are all bytes. */
static PyObject *as_bytes(PyObject *elements)
{
    Py_ssize_t count = PyList_Size(elements), i;

    for (i = 0; i < count; i++)
        if (!PyBytes_Check(PyList_GetItem(elements, i)))
            return encode_all(elements);
    Py_INCREF(elements);
    return elements;
}

static PyObject *pack(PyObject *module, PyObject *elements)
{
    Py_ssize_t count, i, size, total = 0;
    PyObject *all, *packed = NULL;
    unsigned char *at;
    char *data;

    (void)module;
    if (!PyList_Check(elements))
        return PyErr_Format(PyExc_TypeError, "pack() takes a list");
    all = as_bytes(elements);
    if (all == NULL)
        return NULL;
    count = PyList_Size(all);
    for (i = 0; i < count; i++)
        if (add_size(PyList_GetItem(all, i), &total) < 0)
            goto done;
    packed = PyBytes_FromStringAndSize(NULL, total);
    if (packed == NULL)
        goto done;
    at = (unsigned char *)PyBytes_AsString(packed);
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

/* unpack(packed, address, count): put the elements into the object array of `count` elements at `address`. */
static PyObject *unpack(PyObject *module, PyObject *args)
{
    Py_ssize_t count, found, i, size, length;
    PyObject *element, *old, **slots, *packed;
    unsigned long long address;
    unsigned char *data;

    (void)module;
    if (!PyArg_ParseTuple(args, "OKn", &packed, &address, &count))
        return NULL;
    if (PyBytes_AsStringAndSize(packed, (char **)&data, &size) < 0)
        return NULL;
    found = count_elements(data, size);
    if (found < 0)
        return NULL;
    if (found != count)
        return PyErr_Format(PyExc_ValueError, "expected %zd string elements, got %zd", count, found);
    slots = (PyObject **)(uintptr_t)address;
    for (i = 0; i < count; i++) {
        length = (Py_ssize_t)read_length(data);
        element = PyBytes_FromStringAndSize((char *)data + LENGTH, length);
        if (element == NULL)
            return NULL;
        old = slots[i];
        slots[i] = element;
        Py_XDECREF(old);
        data += LENGTH + length;
    }
    Py_INCREF(Py_None);
    return Py_None;
}

/* count(packed): how many elements there are. */
static PyObject *count(PyObject *module, PyObject *packed)
{
    Py_ssize_t found, size;
    char *data;

    (void)module;
    if (PyBytes_AsStringAndSize(packed, &data, &size) < 0)
        return NULL;
    found = count_elements((unsigned char *)data, size);
    return found < 0 ? NULL : PyLong_FromSsize_t(found);
}

static PyMethodDef methods[] = {
    {"pack", pack, METH_O, "The elements of a list one behind the other; str(element) in UTF-8 for what is not bytes."},
    {"count", count, METH_O, "The number of elements in packed bytes; ValueError where they end within one."},
    {"unpack", unpack, METH_VARARGS,
     "Put the elements of packed bytes into the object array of so many elements at this address; ValueError where "
     "they end within one, or are another number."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_bytes", "BYTES tensors, compiled.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__bytes(void)
{
    return PyModuleDef_Init(&definition);
}
