#include "histogram.h"

/* Values below 2^SUB_BITS have a bucket each; above, the highest set bit chooses the group and the bits after it the
 * bucket within. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < (1u << HISTOGRAM_SUB_BITS))
        return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)((ns >> shift) - (1u << HISTOGRAM_SUB_BITS));
}

/* The middle of a bucket's values. */
static uint64_t value_of(unsigned bucket)
{
    unsigned group = bucket >> HISTOGRAM_SUB_BITS;
    uint64_t within = bucket & ((1u << HISTOGRAM_SUB_BITS) - 1);
    if (group == 0)
        return within;
    unsigned shift = group - 1;
    return ((within + (1u << HISTOGRAM_SUB_BITS)) << shift) + (((uint64_t)1 << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->counts[bucket_of(ns)]++;
    histogram->total++;
    histogram->sum += ns;
    if (ns > histogram->max)
        histogram->max = ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    double wanted = quantile * (double)histogram->total;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t value = value_of(bucket);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
