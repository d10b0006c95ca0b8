/* The sweep's layout: each tree's nodes depth first, thresholds as ranks, leaves from left to right. */
#include <stdlib.h>

#include "packing.h"

static size_t count_inner(const Forest *f)
{
    size_t inner = 0;
    for (size_t i = 0; i < f->n_nodes; i++)
        inner += !is_leaf(f, (int32_t)i);
    return inner;
}

/* Write each feature's thresholds behind `s->table[feature]`, as the file has them, and let it point to their end. */
static void group_thresholds(const Forest *f, Sweep *s)
{
    for (size_t i = 0; i < f->n_nodes; i++)
        if (!is_leaf(f, (int32_t)i) && (size_t)f->feature[i] + 1 < f->n_features)
            s->table[f->feature[i] + 1]++;
    for (size_t feature = 1; feature < f->n_features; feature++)
        s->table[feature] += s->table[feature - 1];
    for (size_t i = 0; i < f->n_nodes; i++)
        if (!is_leaf(f, (int32_t)i))
            s->threshold[s->table[f->feature[i]]++] = key_of(f->threshold[i]);
}

/* Sort each feature's thresholds and close the gaps that doubles leave; false if they are more than a rank counts. */
static bool make_tables(const Forest *f, Sweep *s)
{
    size_t kept = 0, from = 0;
    group_thresholds(f, s);
    for (size_t feature = 0; feature < f->n_features; feature++) {
        size_t end = s->table[feature];
        memmove(s->threshold + kept, s->threshold + from, (end - from) * sizeof *s->threshold);
        size_t distinct = keep_distinct_keys(s->threshold + kept, end - from);
        if (distinct > UINT16_MAX)
            return false;
        s->table[feature] = (uint32_t)kept;
        kept += distinct;
        from = end;
    }
    s->table[f->n_features] = (uint32_t)kept;
    return true;
}

static SweepNode sweep_node(const Forest *f, const Sweep *s, int32_t index, uint32_t first)
{
    size_t feature = (size_t)f->feature[index], from = s->table[feature];
    uint32_t rank = place_of_key(s->threshold + from, s->table[feature + 1] - from, key_of(f->threshold[index]));
    rank -= 32768u; /* as sweep.c shifts the rows' ranks */
    return (SweepNode){
        .rank = (rank & 0xffffu) * 0x10001u,
        .first = first * 0x1010101u,
        .column = (uint32_t)(feature * SWEEP_BLOCK * sizeof(int16_t)),
    };
}

typedef struct {
    int32_t node;
    SweepNode *parent; /* the one whose right child this is; NULL for a left child and a root */
} Visit;

/* Append a tree's nodes and leaves; false if it has more leaves than a byte counts. */
static bool sweep_tree(const Forest *f, Sweep *s, size_t tree)
{
    Visit stack[SWEEP_MAX_LEAVES + 1];
    size_t height = 0;
    SweepNode *node = s->node + s->begin[tree];
    double *values = s->value + s->leaf[tree];
    uint32_t leaves = 0;
    stack[height++] = (Visit){f->root[tree], NULL};
    while (height > 0) {
        Visit visit = stack[--height];
        if (visit.parent != NULL)
            visit.parent->shift = (leaves - (visit.parent->first & 0xffu)) * 0x1010101u;
        if (leaves + height >= SWEEP_MAX_LEAVES) /* each that waits has a leaf at least, and so has this one */
            return false;
        if (is_leaf(f, visit.node)) {
            values[leaves++] = f->leaf_value[visit.node];
            continue;
        }
        *node = sweep_node(f, s, visit.node, leaves);
        stack[height++] = (Visit){f->child[visit.node] + 1, node++};
        stack[height++] = (Visit){f->child[visit.node], NULL};
    }
    s->begin[tree + 1] = (uint32_t)(node - s->node);
    s->leaf[tree + 1] = s->leaf[tree] + leaves;
    return true;
}

void free_sweep(Sweep *s)
{
    free(s->node);
    free(s->begin);
    free(s->value);
    free(s->leaf);
    free(s->threshold);
    free(s->table);
    *s = (Sweep){0};
}

Packing pack_sweep(const Forest *f, PackedForest *p, Counts counts)
{
    Sweep *s = &p->sweep;
    size_t before = p->nbytes;
    s->node = take(p, counts.inner, sizeof *s->node);
    s->begin = take(p, f->n_trees + 1, sizeof *s->begin);
    s->value = take(p, counts.leaves, sizeof *s->value);
    s->leaf = take(p, f->n_trees + 1, sizeof *s->leaf);
    s->threshold = take(p, count_inner(f), sizeof *s->threshold);
    s->table = take(p, f->n_features + 1, sizeof *s->table);
    if (!s->node || !s->begin || !s->value || !s->leaf || !s->threshold || !s->table)
        return NO_MEMORY;
    p->can_sweep = make_tables(f, s);
    for (size_t tree = 0; tree < f->n_trees && p->can_sweep; tree++)
        p->can_sweep = sweep_tree(f, s, tree);
    if (!p->can_sweep) {
        free_sweep(s);
        p->nbytes = before;
    }
    return PACKED;
}
