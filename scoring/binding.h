/* What the parts of the Python side share. One of them, _kernel.c, imports numpy's tables for all. */
#ifndef TELLTALE_BINDING_H
#define TELLTALE_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL telltale_array_api
#define PY_UFUNC_UNIQUE_SYMBOL telltale_ufunc_api
#ifndef TELLTALE_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include "forest.h"

/* numpy's own loop for double ** double, and what it is called with. */
extern PyUFuncGenericFunction power_loop;
extern void *power_data;

extern PyObject *out_of_range; /* scoring.errors.OutOfRange */

extern PyTypeObject scorer_type;

/* Fill `keys` from a list or tuple of numbers; -1 with an exception if it is no record of so many features. */
int read_record(PyObject *values, Py_ssize_t n_features, uint32_t *keys);

/* Return `given`, shape (n, n_features), as C-contiguous float64 or float32; NULL with an exception. */
PyArrayObject *read_rows(PyObject *given, Py_ssize_t n_features);

/* Return the flat index of the first value that cannot be scored, or -1. */
PyObject *first_bad(PyObject *module, PyObject *X);

#endif
