/* Latencies in buckets that grow with the value, as HdrHistogram has them: 128 to each power of two, so that a
 * percentile is within 1 % of the truth whatever its size, in constant memory. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 7, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t sum; /* ns */
    uint64_t max; /* ns */
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The latency, ns, that the share `quantile` (0 to 1) of all are not above; 0 where there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
