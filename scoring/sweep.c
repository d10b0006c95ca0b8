/* Blocks of rows with AVX2: no walk at all, but every row past every node of a tree.
 *
 * A tree's nodes are visited in depth-first order. A row's state is one byte: the first leaf that it can still reach.
 * At a node whose leftmost leaf is that very leaf, a row that goes right moves on to the leftmost leaf of the right
 * subtree; other rows are not at this node. Behind the last node the state is the leaf. So a node costs a few
 * instructions for 32 rows, without a gather, and 60 to 100 nodes are sooner past than eight levels are walked.
 * Evaluating all nodes of a tree for many rows without following pointers is the idea of QuickScorer (Lucchese et al.,
 * SIGIR 2015); the interval in place of its bit vectors is ours.
 *
 * Rows are compared by rank: how many of a feature's thresholds are below the value. That is exact, and 16 bits wide.
 */
#include "forest.h"

#if (defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))) && !defined(TELLTALE_NO_AVX2)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
enum { TREES = 8, GROUP = 8, PACK = 32 };

bool sweep_is_supported(void)
{
    __builtin_cpu_init(); /* clang's runtime does not always do it before */
    return __builtin_cpu_supports("avx2");
}

size_t sweep_scratch(const PackedForest *forest)
{
    return forest->n_features * SWEEP_BLOCK * sizeof(int16_t);
}

/* All ones if `a` is less than `b`, by arithmetic: compilers make a branch of a comparison, and it is mispredicted. */
static inline uint32_t below(uint32_t a, uint32_t b)
{
    return (uint32_t)(((uint64_t)a - (uint64_t)b) >> 32);
}

/* Write the ranks of eight keys: the search's steps are the same for all, so that they overlap. */
static void rank_group(const uint32_t *table, uint32_t count, const uint32_t *key, int16_t *rank)
{
    uint32_t low[GROUP] = {0};
    for (uint32_t left = count; left > 0;) {
        uint32_t half = (left + 1) / 2;
        for (int i = 0; i < GROUP; i++)
            low[i] += half & below(table[low[i] + half - 1], key[i]);
        left -= half;
    }
    for (int i = 0; i < GROUP; i++)
        rank[i] = (int16_t)(low[i] - 32768u); /* AVX2 compares signed numbers alone */
}

/* Packing two registers of 16 bits into one of 8 swaps the second and third eight of 32 rows; swapped here before. */
static size_t place_of_group(size_t row)
{
    static const size_t swapped[PACK / GROUP] = {0, 16, 8, 24};
    return row - row % PACK + swapped[row % PACK / GROUP];
}

static void rank_block(const PackedForest *forest, Rows rows, size_t start, size_t n, int16_t *ranks)
{
    const Sweep *s = &forest->sweep;
    for (size_t feature = 0; feature < forest->n_features; feature++) {
        const uint32_t *table = s->threshold + s->table[feature];
        uint32_t count = s->table[feature + 1] - s->table[feature];
        if (count == 0)
            continue; /* no node reads the column */
        for (size_t row = 0; row < n; row += GROUP) {
            uint32_t key[GROUP];
            for (size_t i = 0; i < GROUP; i++) /* behind the end the last row again */
                key[i] = key_of(row_value(rows, start + (row + i < n ? row + i : n - 1), feature));
            rank_group(table, count, key, ranks + feature * SWEEP_BLOCK + place_of_group(row));
        }
    }
}

#define PAST(leaf, pair)                                                                                               \
    do {                                                                                                               \
        __m256i above = _mm256_packs_epi16(_mm256_cmpgt_epi16(column[2 * (pair)], rank),                               \
                                           _mm256_cmpgt_epi16(column[2 * (pair) + 1], rank));                          \
        __m256i here = _mm256_cmpeq_epi8(leaf, first);                                                                 \
        leaf = _mm256_add_epi8(leaf, _mm256_and_si256(_mm256_and_si256(above, shift), here));                          \
    } while (0)

/* Write the leaf of each of 128 rows. */
AVX2 static void sweep_half(const SweepNode *node, const SweepNode *end, const char *ranks, uint8_t *leaf)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (; node < end; node++) {
        const __m256i *column = (const __m256i *)(ranks + node->column);
        __m256i rank = _mm256_set1_epi32((int)node->rank);
        __m256i first = _mm256_set1_epi32((int)node->first);
        __m256i shift = _mm256_set1_epi32((int)node->shift);
        PAST(a, 0);
        PAST(b, 1);
        PAST(c, 2);
        PAST(d, 3);
    }
    _mm256_store_si256((__m256i *)leaf, a);
    _mm256_store_si256((__m256i *)(leaf + PACK), b);
    _mm256_store_si256((__m256i *)(leaf + 2 * PACK), c);
    _mm256_store_si256((__m256i *)(leaf + 3 * PACK), d);
}

/* Add the values of some trees' leaves, tree after tree: the reference adds in this order. */
static void add_values(const double *const *value, uint8_t leaf[TREES][SWEEP_BLOCK], size_t n_trees, size_t n,
                       double *depth)
{
    if (n_trees == TREES) {
        for (size_t row = 0; row < n; row++) {
            double sum = depth[row];
            for (size_t tree = 0; tree < TREES; tree++)
                sum += value[tree][leaf[tree][row]];
            depth[row] = sum;
        }
    } else {
        for (size_t tree = 0; tree < n_trees; tree++)
            for (size_t row = 0; row < n; row++)
                depth[row] += value[tree][leaf[tree][row]];
    }
}

void sweep(const PackedForest *forest, Rows rows, size_t start, size_t n, void *scratch, double *depth)
{
    const Sweep *s = &forest->sweep;
    _Alignas(32) uint8_t leaf[TREES][SWEEP_BLOCK];
    rank_block(forest, rows, start, n, scratch);
    memset(depth, 0, n * sizeof *depth);
    for (size_t tree = 0; tree < forest->n_trees; tree += TREES) {
        size_t n_trees = forest->n_trees - tree < TREES ? forest->n_trees - tree : TREES;
        const double *value[TREES];
        for (size_t i = 0; i < n_trees; i++) {
            const SweepNode *begin = s->node + s->begin[tree + i], *end = s->node + s->begin[tree + i + 1];
            for (size_t half = 0; half < n; half += SWEEP_HALF)
                sweep_half(begin, end, (const char *)scratch + half * sizeof(int16_t), leaf[i] + half);
            value[i] = s->value + s->leaf[tree + i];
        }
        add_values(value, leaf, n_trees, n, depth);
    }
}

#else

bool sweep_is_supported(void)
{
    return false;
}

size_t sweep_scratch(const PackedForest *forest)
{
    (void)forest;
    return 0;
}

void sweep(const PackedForest *forest, Rows rows, size_t start, size_t n, void *scratch, double *depth)
{
    (void)forest, (void)rows, (void)start, (void)n, (void)scratch, (void)depth;
}

#endif
