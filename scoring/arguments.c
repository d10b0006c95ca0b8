/* From Python's lists and numpy's arrays to the numbers that the kernels read, and what is refused on the way. */
#include "binding.h"

#include <float.h>
#include <math.h>

static int require_real_array(PyObject *given)
{
    if (!PyArray_Check(given)) {
        PyErr_Format(PyExc_TypeError, "rows are a numpy array, not %s", Py_TYPE(given)->tp_name);
        return -1;
    }
    PyArrayObject *array = (PyArrayObject *)given;
    int type = PyArray_TYPE(array);
    if (!PyTypeNum_ISBOOL(type) && !PyTypeNum_ISINTEGER(type) && !PyTypeNum_ISFLOAT(type)) {
        PyErr_Format(PyExc_TypeError, "rows are real numbers, not %S", (PyObject *)PyArray_DESCR(array));
        return -1;
    }
    return 0;
}

/* What has to be copied becomes float32, as the reference casts. */
PyArrayObject *read_rows(PyObject *given, Py_ssize_t n_features)
{
    if (require_real_array(given) < 0)
        return NULL;
    PyArrayObject *array = (PyArrayObject *)given;
    if (PyArray_NDIM(array) != 2 || PyArray_DIM(array, 1) != n_features) {
        PyObject *shape = PyObject_GetAttrString(given, "shape");
        if (shape != NULL)
            PyErr_Format(PyExc_ValueError, "rows of %zd features are expected; got an array of shape %S", n_features,
                         shape);
        Py_XDECREF(shape);
        return NULL;
    }
    int type = PyArray_TYPE(array);
    if ((type == NPY_DOUBLE || type == NPY_FLOAT) && PyArray_ISCARRAY_RO(array))
        return (PyArrayObject *)Py_NewRef(given);
    return (PyArrayObject *)PyArray_FROMANY(given, NPY_FLOAT, 2, 2, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
}

static int refuse_value(Py_ssize_t feature, PyObject *value)
{
    PyErr_Format(out_of_range, "feature %zd is %R; values must be finite and within float32's range", feature, value);
    return -1;
}

/* Read one number of a record; a double beyond float32's range is refused, not rounded to infinity. */
static int read_value(PyObject *value, Py_ssize_t feature, uint32_t *key)
{
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) /* an integer that may be too long to be shown */
            PyErr_Format(out_of_range, "feature %zd is beyond float32's range", feature);
        return -1;
    }
    if (!(fabs(number) <= FLT_MAX))
        return refuse_value(feature, value);
    *key = key_of((float)number);
    return 0;
}

/* A number's __float__ may run any code, and change the list: its length is looked at again before each item. */
int read_record(PyObject *values, Py_ssize_t n_features, uint32_t *keys)
{
    if (!PyList_Check(values) && !PyTuple_Check(values)) {
        PyErr_Format(PyExc_TypeError, "a record is a list or a tuple of numbers, not %s", Py_TYPE(values)->tp_name);
        return -1;
    }
    Py_ssize_t feature = 0;
    for (; feature < n_features && feature < PySequence_Fast_GET_SIZE(values); feature++) {
        PyObject *value = Py_NewRef(PySequence_Fast_GET_ITEM(values, feature));
        int failed = read_value(value, feature, &keys[feature]);
        Py_DECREF(value);
        if (failed)
            return -1;
    }
    if (feature == n_features && PySequence_Fast_GET_SIZE(values) == n_features)
        return 0;
    PyErr_Format(PyExc_ValueError, "a record of %zd features is expected; got %zd", n_features,
                 PySequence_Fast_GET_SIZE(values));
    return -1;
}

/* Blocks are judged whole, which compilers vectorise; only a bad one is looked through. */
#define FIRST_BAD(type, absolute)                                                                                      \
    static npy_intp first_bad_##type(const type *values, npy_intp n)                                                   \
    {                                                                                                                  \
        enum { BLOCK = 512 };                                                                                          \
        for (npy_intp start = 0; start < n; start += BLOCK) {                                                          \
            npy_intp end = start + BLOCK < n ? start + BLOCK : n;                                                      \
            int bad = 0;                                                                                               \
            for (npy_intp i = start; i < end; i++)                                                                     \
                bad |= !(absolute(values[i]) <= FLT_MAX);                                                              \
            for (npy_intp i = start; bad && i < end; i++)                                                              \
                if (!(absolute(values[i]) <= FLT_MAX))                                                                 \
                    return i;                                                                                          \
        }                                                                                                              \
        return -1;                                                                                                     \
    }
FIRST_BAD(double, fabs)
FIRST_BAD(float, fabsf)

PyObject *first_bad(PyObject *Py_UNUSED(module), PyObject *X)
{
    if (require_real_array(X) < 0)
        return NULL;
    int type = PyArray_TYPE((PyArrayObject *)X) == NPY_FLOAT ? NPY_FLOAT : NPY_DOUBLE;
    if (!PyTypeNum_ISFLOAT(PyArray_TYPE((PyArrayObject *)X)))
        return PyLong_FromLong(-1); /* every integer that numpy holds is within float32's range */
    PyArrayObject *array = (PyArrayObject *)PyArray_FROMANY(X, type, 0, 0, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
    if (array == NULL)
        return NULL;
    npy_intp n = PyArray_SIZE(array), found;
    Py_BEGIN_ALLOW_THREADS
    found = type == NPY_DOUBLE ? first_bad_double(PyArray_DATA(array), n) : first_bad_float(PyArray_DATA(array), n);
    Py_END_ALLOW_THREADS
    Py_DECREF(array);
    return PyLong_FromSsize_t(found);
}
