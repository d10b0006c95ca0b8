/* From the forest file's arrays to what the kernels read; every bound that these rely on is checked here.
 *
 * The layouts themselves are made by packing_walk.c and packing_sweep.c.
 */
#include <math.h>
#include <stdlib.h>

#include "packing.h"

static const char *fault_of(const Forest *f)
{
    if (f->n_nodes == 0 || f->n_trees == 0 || f->n_features == 0)
        return "it has no tree, no node or no feature";
    if (f->n_nodes > INT32_MAX || f->n_trees > INT32_MAX)
        return "it has more nodes than an index counts";
    for (size_t i = 0; i < f->n_trees; i++)
        if (f->root[i] < 0 || (size_t)f->root[i] >= f->n_nodes)
            return "a root is out of range";
    for (size_t i = 0; i < f->n_nodes; i++) {
        if (f->feature[i] < -1 || (f->feature[i] >= 0 && (size_t)f->feature[i] >= f->n_features))
            return "a feature is out of range";
        if (!isfinite(f->threshold[i]) || !isfinite(f->leaf_value[i]))
            return "a threshold or a leaf's value is not finite";
        if (f->feature[i] < 0)
            continue;
        if (f->child[i] < 0 || (size_t)f->child[i] <= i || (size_t)f->child[i] + 1 >= f->n_nodes)
            return "a child is out of range or not behind its parent";
    }
    return NULL;
}

void *take(PackedForest *packed, size_t count, size_t size)
{
    packed->nbytes += count * size;
    return calloc(count ? count : 1, size);
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int compare_keys(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

size_t keep_distinct_doubles(double *numbers, size_t count)
{
    size_t kept = 0;
    qsort(numbers, count, sizeof *numbers, compare_doubles);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || numbers[kept - 1] != numbers[i])
            numbers[kept++] = numbers[i];
    return kept;
}

size_t keep_distinct_keys(uint32_t *numbers, size_t count)
{
    size_t kept = 0;
    qsort(numbers, count, sizeof *numbers, compare_keys);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || numbers[kept - 1] != numbers[i])
            numbers[kept++] = numbers[i];
    return kept;
}

uint32_t place_of_double(const double *numbers, size_t count, double number)
{
    const double *found = bsearch(&number, numbers, count, sizeof *numbers, compare_doubles);
    return (uint32_t)(found - numbers);
}

uint32_t place_of_key(const uint32_t *numbers, size_t count, uint32_t number)
{
    const uint32_t *found = bsearch(&number, numbers, count, sizeof *numbers, compare_keys);
    return (uint32_t)(found - numbers);
}

Packing pack_forest(const Forest *forest, bool with_sweep, PackedForest *packed, const char **reason)
{
    *packed = (PackedForest){.n_features = forest->n_features, .n_trees = forest->n_trees};
    *reason = fault_of(forest);
    if (*reason != NULL)
        return DAMAGED;
    *reason = "it has more features, larger trees or more shared nodes than the kernel's layout holds";
    if (forest->n_features > MAX_FEATURES)
        return TOO_WIDE;
    Counts counts;
    Packing done = pack_walk(forest, packed, &counts);
    return done == PACKED && with_sweep ? pack_sweep(forest, packed, counts) : done;
}

void free_forest(PackedForest *packed)
{
    free(packed->node_memory);
    free(packed->root);
    free(packed->height);
    free(packed->value);
    free_sweep(&packed->sweep);
    *packed = (PackedForest){0};
}
