/* One record, on any machine: ten trees at a time, and no branch that depends on the data.
 *
 * A walk waits at every level for a load that depends on the one before. Ten walks that do not depend on each other
 * fill that time; the fixed number of steps, with leaves that lead to themselves, spares the mispredicted branches.
 * Keys are integers because the carry of their comparison is added to the node's index without a detour.
 */
#include "forest.h"

#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif
#define NOT_INLINED __attribute__((noinline))
#define FOR_EACH_LANE UNROLLED for (int lane = 0; lane < LANES; lane++)

/* Take all walks `steps` levels on. Not inlined, and on copies: so compilers keep the indices in registers. */
static NOT_INLINED void advance(const Node *nodes, const uint32_t *keys, uint32_t steps, uint32_t *indices)
{
    uint32_t at[LANES];
    FOR_EACH_LANE at[lane] = indices[lane];
    for (uint32_t step = 0; step < steps; step++)
        FOR_EACH_LANE {
            const Node *node = nodes + at[lane];
            at[lane] += node->step + (uint32_t)(keys[node->feature] > node->key);
        }
    FOR_EACH_LANE indices[lane] = at[lane];
}

static NOT_INLINED bool all_ended(const Node *nodes, const uint32_t *at)
{
    unsigned steps = 0;
    for (int lane = 0; lane < LANES; lane++)
        steps |= nodes[at[lane]].step;
    return steps == 0;
}

double walk(const PackedForest *forest, const uint32_t *keys)
{
    const Node *nodes = forest->node;
    const double *value = forest->value;
    double depth = 0.0;
    for (size_t group = 0; group < forest->n_groups; group++) {
        uint32_t at[LANES], left = forest->height[group];
        memcpy(at, forest->root + group * LANES, sizeof at);
        for (; left > STEPS_AT_ONCE && !all_ended(nodes, at); left -= STEPS_AT_ONCE)
            advance(nodes, keys, STEPS_AT_ONCE, at);
        advance(nodes, keys, left < STEPS_AT_ONCE ? left : STEPS_AT_ONCE, at);
        /* Tree after tree: the reference adds in this order, and the last bit can be the label. */
        FOR_EACH_LANE depth += value[nodes[at[lane]].key];
    }
    return depth;
}
