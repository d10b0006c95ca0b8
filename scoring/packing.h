/* What the parts of the packing share; forest.h has what the kernels read. */
#ifndef TELLTALE_PACKING_H
#define TELLTALE_PACKING_H

#include "forest.h"

/* How many nodes the trees have between them, each tree with nodes of its own. */
typedef struct {
    size_t inner, leaves;
} Counts;

static inline bool is_leaf(const Forest *forest, int32_t node)
{
    return forest->feature[node] < 0;
}

/* Return zeroed memory that `packed` counts, or NULL. */
void *take(PackedForest *packed, size_t count, size_t size);

/* Sort numbers in place, keep each once, and return how many are left. */
size_t keep_distinct_doubles(double *numbers, size_t count);
size_t keep_distinct_keys(uint32_t *numbers, size_t count);

/* Return the place of a number that is among the distinct ones. */
uint32_t place_of_double(const double *numbers, size_t count, double number);
uint32_t place_of_key(const uint32_t *numbers, size_t count, uint32_t number);

/* Lay out a forest that was checked. What was allocated before a failure is freed with `packed`. */
Packing pack_walk(const Forest *forest, PackedForest *packed, Counts *counts);

/* Needs what pack_walk counted; where a tree or a feature has too much for a sweep, can_sweep stays false. */
Packing pack_sweep(const Forest *forest, PackedForest *packed, Counts counts);
void free_sweep(Sweep *sweep);

#endif
