/* The type that holds a packed forest and scores with it.
 *
 * The power is numpy's own inner loop, called without the array machinery around it: libm's pow and numpy's vectorised
 * one differ in the last bit, and the row that sets a forest's offset has a decision function of exactly 0.
 */
#include "binding.h"

#include <float.h>
#include <math.h>

#if FLT_EVAL_METHOD != 0
#error "sums must be rounded to double at each step, as numpy's are"
#endif

enum { HOLD_GIL_BELOW = 8 /* rows: letting go of the lock would take longer than they do */ };

typedef struct {
    PyObject_HEAD
    PackedForest forest;
    double normalizer, offset;
} Scorer;

static const char *kernel_of(const PackedForest *forest)
{
    return forest->can_sweep ? "c-avx2" : "c";
}

/* Turn `n` sums of path lengths (at most SWEEP_BLOCK) into decision functions, by the reference's operations. */
static void decide(const Scorer *self, const double *depth, npy_intp n, double *decision)
{
    double exponent[SWEEP_BLOCK], two = 2.0;
    char *arguments[3] = {(char *)&two, (char *)exponent, (char *)decision};
    npy_intp steps[3] = {0, sizeof(double), sizeof(double)};
    for (npy_intp i = 0; i < n; i++)
        exponent[i] = -(self->normalizer != 0.0 ? depth[i] / self->normalizer : 1.0);
    power_loop(arguments, &n, steps, power_data);
    for (npy_intp i = 0; i < n; i++)
        decision[i] = -decision[i] - self->offset;
}

static void walk_rows(const PackedForest *forest, Rows rows, size_t start, size_t n, double *depth)
{
    uint32_t keys[MAX_FEATURES + 1];
    keys[forest->n_features] = 0;
    for (size_t row = 0; row < n; row++) {
        for (size_t feature = 0; feature < forest->n_features; feature++)
            keys[feature] = key_of(row_value(rows, start + row, feature));
        depth[row] = walk(forest, keys);
    }
}

/* `scratch` is NULL where the forest is not swept. */
static void score_rows(const Scorer *self, Rows rows, size_t n, void *scratch, double *decision)
{
    double depth[SWEEP_BLOCK];
    for (size_t start = 0; start < n; start += SWEEP_BLOCK) {
        size_t count = n - start < SWEEP_BLOCK ? n - start : SWEEP_BLOCK;
        if (scratch != NULL && count >= SWEEP_MIN_ROWS)
            sweep(&self->forest, rows, start, count, scratch, depth);
        else
            walk_rows(&self->forest, rows, start, count, depth);
        decide(self, depth, (npy_intp)count, decision + start);
    }
}

static PyObject *scorer_score_record(PyObject *object, PyObject *values)
{
    Scorer *self = (Scorer *)object;
    uint32_t keys[MAX_FEATURES + 1];
    double decision;
    if (read_record(values, (Py_ssize_t)self->forest.n_features, keys) < 0)
        return NULL;
    keys[self->forest.n_features] = 0;
    double depth = walk(&self->forest, keys);
    decide(self, &depth, 1, &decision);
    return PyFloat_FromDouble(decision);
}

static PyObject *scorer_score(PyObject *object, PyObject *X)
{
    Scorer *self = (Scorer *)object;
    PyArrayObject *array = read_rows(X, (Py_ssize_t)self->forest.n_features);
    if (array == NULL)
        return NULL;
    npy_intp n = PyArray_DIM(array, 0);
    size_t alignment = 32;
    PyObject *result = PyArray_SimpleNew(1, &n, NPY_DOUBLE);
    bool sweeps = self->forest.can_sweep && n >= SWEEP_MIN_ROWS;
    void *memory = sweeps ? PyMem_RawMalloc(sweep_scratch(&self->forest) + alignment) : NULL;
    if (result == NULL || (sweeps && memory == NULL)) {
        Py_DECREF(array);
        Py_XDECREF(result);
        PyMem_RawFree(memory);
        return result == NULL ? NULL : PyErr_NoMemory();
    }
    void *scratch = sweeps ? (char *)memory + (alignment - (uintptr_t)memory % alignment) : NULL;
    Rows rows = {PyArray_DATA(array), PyArray_TYPE(array) == NPY_DOUBLE, self->forest.n_features};
    double *decision = PyArray_DATA((PyArrayObject *)result);
    if (n < HOLD_GIL_BELOW) {
        score_rows(self, rows, (size_t)n, scratch, decision);
    } else {
        Py_BEGIN_ALLOW_THREADS
        score_rows(self, rows, (size_t)n, scratch, decision);
        Py_END_ALLOW_THREADS
    }
    PyMem_RawFree(memory);
    Py_DECREF(array);
    return result;
}

/* A copy, so that nobody changes it between its check and its use, which runs without the lock. */
static PyArrayObject *column_of(PyObject *given, int type)
{
    return (PyArrayObject *)PyArray_FROMANY(given, type, 1, 1, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_ENSURECOPY);
}

static int pack(Scorer *self, PyArrayObject *const *arrays, Py_ssize_t n_features, bool with_sweep)
{
    npy_intp n_nodes = PyArray_DIM(arrays[0], 0);
    for (int i = 1; i < 4; i++)
        if (PyArray_DIM(arrays[i], 0) != n_nodes) {
            PyErr_SetString(PyExc_ValueError, "the forest is damaged: its arrays differ in length");
            return -1;
        }
    Forest forest = {
        .threshold = PyArray_DATA(arrays[0]),
        .feature = PyArray_DATA(arrays[1]),
        .child = PyArray_DATA(arrays[2]),
        .leaf_value = PyArray_DATA(arrays[3]),
        .root = PyArray_DATA(arrays[4]),
        .n_nodes = (size_t)n_nodes,
        .n_trees = (size_t)PyArray_DIM(arrays[4], 0),
        .n_features = (size_t)n_features,
    };
    const char *reason;
    Packing done;
    Py_BEGIN_ALLOW_THREADS
    done = pack_forest(&forest, with_sweep, &self->forest, &reason);
    Py_END_ALLOW_THREADS
    switch (done) {
    case PACKED:
        return 0;
    case DAMAGED:
        PyErr_Format(PyExc_ValueError, "the forest is damaged: %s", reason);
        return -1;
    case TOO_WIDE:
        PyErr_SetString(PyExc_OverflowError, reason);
        return -1;
    default:
        PyErr_NoMemory();
        return -1;
    }
}

/* Return whether the kernel of this name sweeps (NULL: the best there is), or -1 with an exception. */
static int wants_sweep(const char *kernel)
{
    if (kernel == NULL)
        return sweep_is_supported();
    if (strcmp(kernel, "c") == 0)
        return 0;
    if (strcmp(kernel, "c-avx2") == 0 && sweep_is_supported())
        return 1;
    PyErr_Format(PyExc_ValueError, "there is no kernel %s on this machine", kernel);
    return -1;
}

static PyObject *scorer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"threshold",  "feature",    "child",  "leaf_value", "root",
                            "n_features", "normalizer", "offset", "kernel",     NULL};
    static const int types[5] = {NPY_FLOAT, NPY_INT32, NPY_INT32, NPY_DOUBLE, NPY_INT32};
    PyObject *given[5];
    PyArrayObject *arrays[5] = {NULL};
    Py_ssize_t n_features;
    double normalizer, offset;
    const char *kernel = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOndd|$z", names, &given[0], &given[1], &given[2], &given[3],
                                     &given[4], &n_features, &normalizer, &offset, &kernel))
        return NULL;
    if (n_features < 1 || !isfinite(offset) || !isfinite(normalizer) || normalizer < 0) {
        PyErr_SetString(PyExc_ValueError, "the forest is damaged: its features, normalizer or offset are out of range");
        return NULL;
    }
    int with_sweep = wants_sweep(kernel);
    if (with_sweep < 0)
        return NULL;
    Scorer *self = (Scorer *)type->tp_alloc(type, 0);
    bool made = self != NULL;
    for (int i = 0; i < 5 && made; i++)
        made = (arrays[i] = column_of(given[i], types[i])) != NULL;
    made = made && pack(self, arrays, n_features, with_sweep) == 0;
    for (int i = 0; i < 5; i++)
        Py_XDECREF(arrays[i]);
    if (!made) {
        Py_XDECREF(self);
        return NULL;
    }
    self->normalizer = normalizer;
    self->offset = offset;
    return (PyObject *)self;
}

static void scorer_dealloc(PyObject *object)
{
    free_forest(&((Scorer *)object)->forest);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *scorer_kernel(PyObject *object, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(kernel_of(&((Scorer *)object)->forest));
}

static PyObject *scorer_n_features(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(((Scorer *)object)->forest.n_features);
}

static PyObject *scorer_nbytes(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(((Scorer *)object)->forest.nbytes);
}

static PyMethodDef scorer_methods[] = {
    {"score_record", scorer_score_record, METH_O, "Return one record's decision function."},
    {"score", scorer_score, METH_O, "Return the decision function of each row."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef scorer_attributes[] = {
    {"kernel", scorer_kernel, NULL, "Which code scores blocks of rows.", NULL},
    {"n_features", scorer_n_features, NULL, "Number of columns that a row must have.", NULL},
    {"nbytes", scorer_nbytes, NULL, "Memory held, in bytes.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject scorer_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "scoring._kernel.Scorer",
    .tp_doc = "A packed forest; scoring.kernel says what its members do.",
    .tp_basicsize = sizeof(Scorer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .tp_new = scorer_new,
    .tp_dealloc = scorer_dealloc,
    .tp_methods = scorer_methods,
    .tp_getset = scorer_attributes,
};
