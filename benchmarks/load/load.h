/* What the load generator's parts share: one thread, N connections, each with a fixed number of calls under way. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

struct bytes {
    uint8_t *data;
    size_t size;
};

struct options {
    bool grpc;
    uint16_t port;
    unsigned connections;
    unsigned streams;  /* gRPC: calls under way on each connection */
    double seconds;
    uint64_t requests; /* stop after so many answers; 0: only when the time is over */
    size_t first_piece;   /* HTTP/1.1: send so many bytes of a request on their own; 0: all at once */
    struct bytes request; /* HTTP/1.1: the whole request. gRPC: the message, without its prefix */
    const char *path;     /* gRPC: the method */
    const char *authorization; /* gRPC: value of this header, or NULL */
};

struct tally {
    uint64_t answers; /* whole answers, good and bad */
    uint64_t bad;     /* other than 200; gRPC: calls that ended without a message */
    uint64_t broken;  /* requests that were lost with their connection, or had no answer long after the end */
    uint64_t bytes;   /* received */
    unsigned bad_status;
    struct histogram latency;
};

struct connection {
    int fd;
    bool waits_to_write; /* EPOLLOUT is asked for */
    const uint8_t *out;  /* what is still to be written */
    size_t out_size;
    unsigned under_way;  /* requests without a whole answer yet */
    void *protocol;      /* the protocol's own state */
};

struct load {
    struct options options;
    struct tally tally;
    int epoll;
    unsigned under_way; /* on all connections */
    bool ending;        /* the time is over: answers are awaited and nothing new is asked */
    struct connection *connections;
};

/* A protocol. A connection that `received` answers false for is opened anew, and `opened` is called again. Each request
 * is announced by `may_ask` and ends with `count_answer`. */
struct protocol {
    void *(*create)(const struct load *load);
    void (*opened)(struct load *load, struct connection *connection);
    bool (*received)(struct load *load, struct connection *connection, const uint8_t *data, size_t size);
};

extern const struct protocol HTTP1;
extern const struct protocol GRPC;

uint64_t now_ns(void);

/* Write what is in `out` as far as the socket takes it; false if the connection is broken. */
bool flush_output(struct load *load, struct connection *connection);

/* Tell whether one more request may be sent on this connection; if so it counts as under way. */
bool may_ask(struct load *load, struct connection *connection);

/* Count an answer that came `ns` after its request. */
void count_answer(struct load *load, struct connection *connection, uint64_t ns, bool good, unsigned status);

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void *allocate(size_t size);

#endif
