/* HTTP/1.1: one request under way on a connection, kept alive; bodies by Content-Length or chunked. */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_SIZE = 16 * 1024 };

enum place { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct exchange {
    uint64_t sent_at; /* ns */
    enum place place;
    size_t head_size; /* of what has come of the head */
    size_t left;      /* bytes of the body or chunk that are still to come */
    size_t line_size; /* of what has come of a trailer line */
    unsigned status;
    bool closes;      /* the server ends the connection after this answer */
    char head[HEAD_SIZE];
};

static void *create(const struct load *load)
{
    (void)load;
    return allocate(sizeof(struct exchange));
}

static bool send_request(struct load *load, struct connection *connection)
{
    struct exchange *exchange = connection->protocol;
    exchange->place = HEAD;
    if (!may_ask(load, connection))
        return true;
    exchange->head_size = exchange->left = exchange->line_size = 0;
    exchange->closes = false;
    connection->out = load->options.request.data;
    connection->out_size = load->options.first_piece;
    exchange->sent_at = now_ns();
    if (connection->out_size > 0 && !flush_output(load, connection))
        return false;
    connection->out_size += load->options.request.size - load->options.first_piece;
    return flush_output(load, connection);
}

static void opened(struct load *load, struct connection *connection)
{
    if (!send_request(load, connection))
        fail("the server closed a new connection");
}

static bool is_named(const char *line, size_t size, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (size <= length || line[length] != ':' || strncasecmp(line, name, length) != 0)
        return false;
    *value = line + length + 1;
    while (**value == ' ')
        (*value)++;
    return true;
}

/* Reads the status and how the body is framed from a whole head, which ends with an empty line. */
static void read_head(struct exchange *exchange)
{
    bool framed = false, chunked = false;
    const char *value, *end;
    if (strncmp(exchange->head, "HTTP/1.", 7) != 0)
        fail("the answer is not HTTP/1.1");
    exchange->status = (unsigned)strtoul(exchange->head + 9, NULL, 10);
    for (const char *line = strstr(exchange->head, "\r\n") + 2; (end = strstr(line, "\r\n")) != line; line = end + 2) {
        size_t size = (size_t)(end - line);
        if (is_named(line, size, "content-length", &value)) {
            exchange->left = strtoull(value, NULL, 10);
            framed = true;
        } else if (is_named(line, size, "transfer-encoding", &value)) {
            chunked = strncasecmp(value, "chunked", 7) == 0;
        } else if (is_named(line, size, "connection", &value)) {
            exchange->closes = strncasecmp(value, "close", 5) == 0;
        }
    }
    if (!framed && !chunked && exchange->status != 204)
        fail("an answer of status %u has neither Content-Length nor chunks", exchange->status);
    exchange->place = chunked ? CHUNK_SIZE : BODY;
}

/* Each of these takes what it can from the data and returns how much. */
static size_t take_head(struct exchange *exchange, const uint8_t *data, size_t size)
{
    size_t before = exchange->head_size, room = HEAD_SIZE - 1 - before;
    size_t taken = size < room ? size : room;
    memcpy(exchange->head + before, data, taken);
    exchange->head_size += taken;
    exchange->head[exchange->head_size] = '\0';
    char *end = strstr(exchange->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
    if (end == NULL) {
        if (exchange->head_size == HEAD_SIZE - 1)
            fail("an answer's head is larger than %d bytes", HEAD_SIZE);
        return taken;
    }
    end[4] = '\0';
    read_head(exchange);
    return (size_t)(end + 4 - exchange->head) - before;
}

static size_t take_counted(struct exchange *exchange, size_t size, enum place next)
{
    size_t taken = size < exchange->left ? size : exchange->left;
    exchange->left -= taken;
    if (exchange->left == 0)
        exchange->place = next;
    return taken;
}

static size_t take_chunk_size(struct exchange *exchange, uint8_t byte)
{
    if (byte == '\n') {
        exchange->place = exchange->left == 0 ? TRAILER : CHUNK_DATA;
        exchange->line_size = 0;
    } else if (byte >= '0' && byte <= '9') {
        exchange->left = exchange->left * 16 + (byte - '0');
    } else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f') {
        exchange->left = exchange->left * 16 + ((byte | 0x20) - 'a' + 10u);
    } else if (byte != '\r') {
        fail("a chunk's size is not a number (extensions are not read)");
    }
    return 1;
}

/* Returns true if the byte ends the trailer, which is an empty line after any others. */
static bool ends_trailer(struct exchange *exchange, uint8_t byte)
{
    if (byte == '\n' && exchange->line_size == 0)
        return true;
    exchange->line_size = byte == '\n' ? 0 : exchange->line_size + (byte != '\r');
    return false;
}

static bool answered(struct load *load, struct connection *connection)
{
    struct exchange *exchange = connection->protocol;
    count_answer(load, connection, now_ns() - exchange->sent_at, exchange->status == 200, exchange->status);
    return !exchange->closes && send_request(load, connection);
}

static bool received(struct load *load, struct connection *connection, const uint8_t *data, size_t size)
{
    struct exchange *exchange = connection->protocol;
    if (connection->under_way == 0)
        fail("the server sends without being asked");
    for (size_t at = 0; at < size || (exchange->place == BODY && exchange->left == 0);) {
        bool whole = false;
        switch (exchange->place) {
        case HEAD: at += take_head(exchange, data + at, size - at); break;
        case BODY: at += take_counted(exchange, size - at, BODY); whole = exchange->left == 0; break;
        case CHUNK_SIZE: at += take_chunk_size(exchange, data[at]); break;
        case CHUNK_DATA: at += take_counted(exchange, size - at, CHUNK_END); break;
        case CHUNK_END: exchange->place = data[at++] == '\n' ? CHUNK_SIZE : CHUNK_END; break;
        case TRAILER: whole = ends_trailer(exchange, data[at++]); break;
        }
        if (whole) {
            if (at < size)
                fail("the server sent more than the answer");
            return answered(load, connection);
        }
    }
    return true;
}

const struct protocol HTTP1 = {.create = create, .opened = opened, .received = received};
