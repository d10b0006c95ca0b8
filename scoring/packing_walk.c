/* The walk's layout: subtrees by cache lines.
 *
 * Siblings are neighbours. A line holds a pair and as many pairs below it as fit, so that a walk touches few lines;
 * subtrees follow in depth-first order, behind their parent. The forest file lets trees share nodes; here each gets
 * nodes of its own, so a forest that shares is refused before the copies could grow beyond it.
 */
#include <stdlib.h>

#include "packing.h"

enum { CACHE_LINE = 64, LINE_NODES = CACHE_LINE / sizeof(Node), LINE_PAIRS = LINE_NODES / 2 };

typedef struct {
    int32_t left;    /* the pair's left node in the forest; the right one is the next */
    int32_t width;   /* 2; a root stands alone and has 1 */
    size_t parent;   /* where its parent was placed */
    uint32_t depth;
} Pending;

typedef struct {
    const Forest *forest;
    PackedForest *packed;
    size_t n_values;
    size_t used;   /* places of the layout, gaps included */
    Counts placed;
    Pending *stack;
    size_t height, capacity;
    uint32_t tree_height;
} Builder;

static bool push(Builder *b, Pending pending)
{
    if (b->height == b->capacity) {
        size_t capacity = b->capacity ? 2 * b->capacity : 64;
        Pending *stack = realloc(b->stack, capacity * sizeof *stack);
        if (stack == NULL)
            return false;
        b->stack = stack;
        b->capacity = capacity;
    }
    b->stack[b->height++] = pending;
    return true;
}

static Node node_of(Builder *b, int32_t index)
{
    const Forest *f = b->forest;
    if (is_leaf(f, index)) {
        b->placed.leaves++;
        uint32_t value = place_of_double(b->packed->value, b->n_values, f->leaf_value[index]);
        return (Node){.key = value, .feature = (uint16_t)f->n_features, .step = 0};
    }
    b->placed.inner++;
    return (Node){.key = key_of(f->threshold[index]), .feature = (uint16_t)f->feature[index], .step = 0};
}

/* Gather, breadth first, what fits into the line of `first`; return how many pairs do. Their children are `found`. */
static size_t gather_line(const Builder *b, Pending *queue, size_t *found)
{
    size_t fit = 0;
    *found = 1;
    for (; fit < *found && fit < LINE_PAIRS; fit++)
        for (int32_t side = 0; side < queue[fit].width; side++) {
            int32_t node = queue[fit].left + side;
            if (!is_leaf(b->forest, node))
                queue[(*found)++] = (Pending){
                    .left = b->forest->child[node],
                    .width = 2,
                    .parent = 2 * fit + (size_t)side, /* within the line; its start is not known yet */
                    .depth = queue[fit].depth + 1,
                };
        }
    return fit;
}

static Packing place_line(Builder *b, Pending first)
{
    Pending queue[1 + 2 * LINE_PAIRS] = {first};
    size_t found, fit = gather_line(b, queue, &found);
    size_t room = LINE_NODES - b->used % LINE_NODES;
    size_t start = 2 * fit <= room ? b->used : b->used + room;
    Node *node = b->packed->node;
    b->used = start + 2 * fit;
    for (size_t i = 0; i < found; i++) {
        if (i > 0)
            queue[i].parent += start;
        if (i >= fit) {
            if (!push(b, queue[i]))
                return NO_MEMORY;
            continue;
        }
        size_t at = start + 2 * i;
        for (int32_t side = 0; side < queue[i].width; side++)
            node[at + (size_t)side] = node_of(b, queue[i].left + side);
        if (queue[i].depth > b->tree_height)
            b->tree_height = queue[i].depth;
        if (queue[i].depth > 0) {
            if (at - queue[i].parent > UINT16_MAX)
                return TOO_WIDE;
            node[queue[i].parent].step = (uint16_t)(at - queue[i].parent);
        }
    }
    return b->placed.inner + b->placed.leaves > b->forest->n_nodes ? TOO_WIDE : PACKED;
}

static Packing place_tree(Builder *b, size_t tree)
{
    PackedForest *p = b->packed;
    size_t rest = b->used % LINE_NODES;
    b->used += rest ? LINE_NODES - rest : 0; /* a root begins a line */
    p->root[tree] = (uint32_t)b->used;
    b->tree_height = 0;
    Packing done = place_line(b, (Pending){.left = b->forest->root[tree], .width = 1});
    while (done == PACKED && b->height > 0)
        done = place_line(b, b->stack[--b->height]);
    if (b->tree_height > p->height[tree / LANES])
        p->height[tree / LANES] = b->tree_height;
    return done;
}

/* Pairs skip fewer places than they take, a root skips to its line, and the last line may overshoot n_nodes. */
static size_t most_places(const Forest *f)
{
    return 2 * (f->n_nodes + f->n_trees) + LINE_NODES * (f->n_trees + 4);
}

/* Gather the leaves' distinct values, and the 0 of the leaf that fills the last group; return how many there are. */
static size_t gather_values(const Forest *f, double *values)
{
    size_t count = 0;
    for (size_t i = 0; i < f->n_nodes; i++)
        if (is_leaf(f, (int32_t)i))
            values[count++] = f->leaf_value[i];
    values[count++] = 0.0;
    return keep_distinct_doubles(values, count);
}

static Packing place_trees(Builder *b)
{
    PackedForest *p = b->packed;
    Packing done = PACKED;
    for (size_t tree = 0; tree < p->n_trees && done == PACKED; tree++)
        done = place_tree(b, tree);
    for (size_t tree = p->n_trees; tree < p->n_groups * LANES; tree++)
        p->root[tree] = (uint32_t)b->used;
    p->node[b->used++] = (Node){
        .key = place_of_double(p->value, b->n_values, 0.0),
        .feature = (uint16_t)p->n_features,
    };
    return done;
}

static Node *at_cache_line(void *memory)
{
    return (Node *)(((uintptr_t)memory + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
}

/* Room for `places` nodes, from a cache line on. */
static bool take_nodes(PackedForest *p, size_t places)
{
    p->node_memory = calloc(places + LINE_NODES, sizeof *p->node);
    p->node = at_cache_line(p->node_memory);
    return p->node_memory != NULL;
}

/* Give back what the layout did not use. */
static bool shrink(PackedForest *p, size_t used, size_t n_values)
{
    Node *roomy = p->node;
    void *memory = p->node_memory;
    bool taken = take_nodes(p, used);
    if (taken)
        memcpy(p->node, roomy, used * sizeof *p->node);
    free(memory);
    double *value = realloc(p->value, n_values * sizeof *value);
    if (value != NULL)
        p->value = value;
    p->nbytes += (used + LINE_NODES) * sizeof *p->node + n_values * sizeof *value;
    return taken && value != NULL;
}

Packing pack_walk(const Forest *forest, PackedForest *p, Counts *counts)
{
    size_t places = most_places(forest);
    if (places > UINT32_MAX)
        return TOO_WIDE;
    p->n_groups = (p->n_trees + LANES - 1) / LANES;
    p->root = take(p, p->n_groups * LANES, sizeof *p->root);
    p->height = take(p, p->n_groups, sizeof *p->height);
    p->value = calloc(forest->n_nodes + 1, sizeof *p->value);
    if (!take_nodes(p, places) || p->root == NULL || p->height == NULL || p->value == NULL)
        return NO_MEMORY;
    Builder b = {.forest = forest, .packed = p, .n_values = gather_values(forest, p->value)};
    Packing done = place_trees(&b);
    free(b.stack);
    *counts = b.placed;
    if (done == PACKED && !shrink(p, b.used, b.n_values))
        done = NO_MEMORY;
    return done;
}
