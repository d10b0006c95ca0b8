/* The extension module; scoring/kernel.py says what its members do. */
#define TELLTALE_IMPORTS_NUMPY
#include "binding.h"

PyUFuncGenericFunction power_loop;
void *power_data;
PyObject *out_of_range;

static PyObject *kernels(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return sweep_is_supported() ? Py_BuildValue("(ss)", "c-avx2", "c") : Py_BuildValue("(s)", "c");
}

static PyObject *attribute_of(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *found = imported != NULL ? PyObject_GetAttrString(imported, name) : NULL;
    Py_XDECREF(imported);
    return found;
}

/* Find numpy's loop for double ** double: the first for those types, as numpy itself takes it. */
static int find_power_loop(void)
{
    PyObject *power = attribute_of("numpy", "power");
    if (power == NULL)
        return -1;
    PyUFuncObject *ufunc = PyObject_TypeCheck(power, &PyUFunc_Type) ? (PyUFuncObject *)power : NULL;
    for (int i = 0; ufunc != NULL && ufunc->nargs == 3 && power_loop == NULL && i < ufunc->ntypes; i++) {
        const char *types = ufunc->types + 3 * i;
        if (types[0] == NPY_DOUBLE && types[1] == NPY_DOUBLE && types[2] == NPY_DOUBLE) {
            power_loop = ufunc->functions[i];
            power_data = ufunc->data != NULL ? (void *)ufunc->data[i] : NULL;
        }
    }
    if (power_loop == NULL) {
        Py_DECREF(power);
        PyErr_SetString(PyExc_ImportError, "this numpy shows no loop for the power of doubles");
        return -1;
    }
    return 0; /* the reference to `power` is kept: the loop is its */
}

static PyMethodDef module_functions[] = {
    {"kernels", kernels, METH_NOARGS, "Return the kernels that this processor can run, the fastest first."},
    {"first_bad", first_bad, METH_O, "Return the flat index of the first value that cannot be scored, or -1."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "scoring._kernel",
    .m_doc = "The scoring kernel in C; import scoring.kernel, which stands in where this is not there.",
    .m_size = -1,
    .m_methods = module_functions,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    import_array();
    import_umath();
    if (find_power_loop() < 0 || (out_of_range = attribute_of("scoring.errors", "OutOfRange")) == NULL)
        return NULL;
    if (PyType_Ready(&scorer_type) < 0)
        return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && PyModule_AddObjectRef(made, "Scorer", (PyObject *)&scorer_type) < 0)
        Py_CLEAR(made);
    return made;
}
