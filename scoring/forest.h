/* A forest as the C kernel reads it, and the functions over it.
 *
 * packing.c checks the forest file's arrays and rearranges them; walk.c scores a record with them on any machine;
 * sweep.c scores blocks of rows on x86-64 with AVX2. Nothing here knows Python, and nothing is changed once packed, so
 * threads share a forest without a lock.
 */
#ifndef TELLTALE_FOREST_H
#define TELLTALE_FOREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    LANES = 10,           /* trees that are walked at a time */
    STEPS_AT_ONCE = 8,    /* levels between two looks whether all of them have ended: the height of a usual tree */
    MAX_FEATURES = 1024,  /* keeps a record's keys on the stack */
    SWEEP_BLOCK = 256,    /* rows that are swept at a time */
    SWEEP_HALF = 128,     /* rows whose state the registers hold */
    SWEEP_MIN_ROWS = 48,  /* fewer rows are walked sooner one by one than a half of a block is swept */
    SWEEP_MAX_LEAVES = 256,
};

/* The arrays of contract/forest_file.py, not yet checked. */
typedef struct {
    const float *threshold;
    const int32_t *feature;
    const int32_t *child;
    const double *leaf_value;
    const int32_t *root;
    size_t n_nodes, n_trees, n_features;
} Forest;

/* A step of the walk goes from node i to i + step + (key of the row's feature > key). A leaf looks at the feature after
 * the last, whose key is always 0, and has a step of 0: a walk that has ended stays where it is, whatever its key,
 * which says instead which of the forest's values the leaf has. */
typedef struct {
    uint32_t key;
    uint16_t feature;
    uint16_t step;
} Node;

/* A node of the sweep: rows whose leaf is still `first` move on by `shift` where their rank exceeds `rank`. Each number
 * fills its 32 bits (twice 16 bits, four times 8), so that one plain load spreads it over a register. */
typedef struct {
    uint32_t rank, first, shift;
    uint32_t column; /* where the feature's ranks begin, in bytes from the block's */
} SweepNode;

typedef struct {
    SweepNode *node;
    uint32_t *begin;   /* (n_trees + 1,): where each tree's nodes begin */
    double *value;     /* the leaves' values, tree after tree, from left to right */
    uint32_t *leaf;    /* (n_trees + 1,): where each tree's values begin */
    uint32_t *threshold; /* the keys of each feature's thresholds, ascending, each once */
    uint32_t *table;   /* (n_features + 1,): where each feature's thresholds begin */
} Sweep;

typedef struct {
    size_t n_features, n_trees, n_groups;
    Node *node;
    void *node_memory; /* node begins in it at a cache line */
    uint32_t *root;    /* (n_groups * LANES,): the last group is filled up with a leaf of value 0 */
    uint32_t *height;  /* (n_groups,): of the group's highest tree */
    double *value;     /* the leaves' distinct values */
    Sweep sweep;
    bool can_sweep;
    size_t nbytes;
} PackedForest;

/* Why a forest was not packed: it is damaged, it is sound but outside of what the layout holds, or memory ran out. */
typedef enum { PACKED, DAMAGED, TOO_WIDE, NO_MEMORY } Packing;

/* Check `forest` and fill `packed`; on failure say why in `reason`. The caller frees `packed` in either case. */
Packing pack_forest(const Forest *forest, bool with_sweep, PackedForest *packed, const char **reason);
void free_forest(PackedForest *packed);

/* A key orders float32 values as unsigned integers; NaN comes first, so that it is above no threshold. */
static inline uint32_t key_of(float value)
{
    float positive_zero = value + 0.0f; /* -0 equals 0 */
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return value == value ? key : 0;
}

/* Return the sum of a record's path lengths. `keys` holds a key for each feature, and a 0 after the last. */
double walk(const PackedForest *forest, const uint32_t *keys);

/* Rows of float64 or float32, one after the other. */
typedef struct {
    const void *values;
    bool is_double;
    size_t n_features;
} Rows;

static inline float row_value(Rows rows, size_t row, size_t feature)
{
    size_t at = row * rows.n_features + feature;
    return rows.is_double ? (float)((const double *)rows.values)[at] : ((const float *)rows.values)[at];
}

bool sweep_is_supported(void);

/* Bytes of scratch that a sweep needs, which begin at a multiple of 32. */
size_t sweep_scratch(const PackedForest *forest);

/* Write the sums of path lengths of rows `start` to `start + n` (n at most SWEEP_BLOCK) to `depth`. Needs can_sweep. */
void sweep(const PackedForest *forest, Rows rows, size_t start, size_t n, void *scratch, double *depth);

#endif
