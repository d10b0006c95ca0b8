/* A closed-loop load generator for HTTP/1.1 and gRPC: as soon as an answer is whole, the next request is sent.
 *
 * One thread and epoll, requests made once and sent as they are, answers read only as far as framing and status need:
 * it costs a few microseconds of its own core a request, so that the server is what is measured. It talks to
 * 127.0.0.1 alone. It prints one JSON object; a server that cannot be reached ends it with status 1. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const uint64_t GRACE_NS = 15000000000u;

enum { READ_SIZE = 256 * 1024, EVENTS = 256, MOST_CONNECTIONS = 1024 };

_Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        fail("out of memory");
    return memory;
}

uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

bool may_ask(struct load *load, struct connection *connection)
{
    uint64_t most = load->options.requests;
    if (load->ending || (most > 0 && load->tally.answers + load->under_way >= most))
        return false;
    load->under_way++;
    connection->under_way++;
    return true;
}

void count_answer(struct load *load, struct connection *connection, uint64_t ns, bool good, unsigned status)
{
    load->under_way--;
    connection->under_way--;
    load->tally.answers++;
    if (!good) {
        load->tally.bad++;
        load->tally.bad_status = status;
    }
    histogram_add(&load->tally.latency, ns);
}

static void watch(struct load *load, struct connection *connection, int operation, bool for_writing)
{
    struct epoll_event event = {.events = EPOLLIN | (for_writing ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(load->epoll, operation, connection->fd, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
    connection->waits_to_write = for_writing;
}

bool flush_output(struct load *load, struct connection *connection)
{
    while (connection->out_size > 0) {
        ssize_t n = send(connection->fd, connection->out, connection->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        connection->out += n;
        connection->out_size -= (size_t)n;
    }
    bool left = connection->out_size > 0;
    if (left != connection->waits_to_write)
        watch(load, connection, EPOLL_CTL_MOD, left);
    return true;
}

static void open_connection(struct load *load, const struct protocol *protocol, struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(load->options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket: %s", strerror(errno));
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("cannot connect to 127.0.0.1:%u: %s", load->options.port, strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->out_size = 0;
    watch(load, connection, EPOLL_CTL_ADD, false);
    protocol->opened(load, connection);
}

/* Returns false when the connection is of no more use. */
static bool serve(struct load *load, const struct protocol *protocol, struct connection *connection, uint32_t events)
{
    static uint8_t buffer[READ_SIZE];
    if ((events & EPOLLOUT) && !flush_output(load, connection))
        return false;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return true;
    ssize_t n = recv(connection->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    load->tally.bytes += (uint64_t)n;
    return protocol->received(load, connection, buffer, (size_t)n);
}

static void close_connection(struct load *load, struct connection *connection)
{
    close(connection->fd);
    load->tally.broken += connection->under_way;
    load->under_way -= connection->under_way;
    connection->under_way = 0;
}

static void serve_ready(struct load *load, const struct protocol *protocol, int milliseconds)
{
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(load->epoll, events, EVENTS, milliseconds);
    if (ready < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        if (!serve(load, protocol, connection, events[i].events)) {
            close_connection(load, connection);
            if (!load->ending)
                open_connection(load, protocol, connection);
        }
    }
}

/* Returns the seconds until the last answer. Requests under way at the end are waited for and counted with their time:
 * to forget them would flatter nobody but cost a slow server a request in each round. */
static double run(struct load *load, const struct protocol *protocol)
{
    uint64_t start = now_ns(), end = start + (uint64_t)(load->options.seconds * 1e9), last = end + GRACE_NS;
    for (unsigned i = 0; i < load->options.connections; i++) {
        load->connections[i].protocol = protocol->create(load);
        open_connection(load, protocol, &load->connections[i]);
    }
    for (uint64_t now = start; load->under_way > 0 && now < last; now = now_ns()) {
        load->ending = now >= end;
        serve_ready(load, protocol, (int)(((load->ending ? last : end) - now) / 1000000u) + 1);
    }
    load->tally.broken += load->under_way;
    return (double)(now_ns() - start) / 1e9;
}

static void report(const struct load *load, double seconds)
{
    const struct tally *tally = &load->tally;
    const struct histogram *latency = &tally->latency;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"rps\": %.3f, ", (unsigned long long)tally->answers, seconds,
        (double)(tally->answers - tally->bad) / seconds);
    printf("\"bad\": %llu, \"bad_status\": %u, \"broken\": %llu, \"bytes\": %llu, ", (unsigned long long)tally->bad,
        tally->bad_status, (unsigned long long)tally->broken, (unsigned long long)tally->bytes);
    printf("\"mean_us\": %.3f, ", latency->total ? (double)latency->sum / (double)latency->total / 1e3 : 0.0);
    printf("\"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f, \"cpu_share\": %.4f}\n",
        (double)histogram_quantile(latency, .5) / 1e3, (double)histogram_quantile(latency, .9) / 1e3,
        (double)histogram_quantile(latency, .99) / 1e3, (double)latency->max / 1e3, cpu / seconds);
}

static struct bytes read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    struct bytes content = {.data = allocate((size_t)size + 1), .size = (size_t)size};
    if (fread(content.data, 1, content.size, file) != content.size)
        fail("%s: cannot be read", path);
    fclose(file);
    return content;
}

static struct options parse(int count, char **arguments)
{
    static const struct option names[] = {
        {"protocol", required_argument, NULL, 'p'}, {"port", required_argument, NULL, 'P'},
        {"connections", required_argument, NULL, 'c'}, {"streams", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'}, {"requests", required_argument, NULL, 'n'},
        {"request", required_argument, NULL, 'r'}, {"path", required_argument, NULL, 'm'},
        {"authorization", required_argument, NULL, 'a'}, {"first-piece", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.connections = 1, .streams = 1, .seconds = 1};
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        switch (name) {
        case 'p': options.grpc = strcmp(optarg, "grpc") == 0; break;
        case 'P': options.port = (uint16_t)strtoul(optarg, NULL, 10); break;
        case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': options.streams = (unsigned)strtoul(optarg, NULL, 10); break;
        case 't': options.seconds = strtod(optarg, NULL); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        case 'r': options.request = read_file(optarg); break;
        case 'm': options.path = optarg; break;
        case 'a': options.authorization = optarg; break;
        case 'f': options.first_piece = strtoull(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (options.port == 0 || options.request.data == NULL || (options.grpc && options.path == NULL))
        fail("--port and --request are needed, and --path for gRPC");
    if (options.first_piece > options.request.size)
        fail("--first-piece is more than the request");
    if (options.connections < 1 || options.connections > MOST_CONNECTIONS || options.streams < 1)
        fail("--connections must be 1 to %d, --streams at least 1", MOST_CONNECTIONS);
    return options;
}

int main(int count, char **arguments)
{
    static struct load load; /* zeroed, and too large for the stack */
    load.options = parse(count, arguments);
    load.connections = allocate(load.options.connections * sizeof *load.connections);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    report(&load, run(&load, load.options.grpc ? &GRPC : &HTTP1));
    return 0;
}
