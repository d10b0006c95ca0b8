/* gRPC: unary calls over HTTP/2 (RFC 9113) with prior knowledge, several under way on a connection.
 *
 * The frames of a call are made once: HEADERS with the fields in the dynamic table (put there by a connection's first
 * call, as real clients do) and one DATA. Answers are read frame by frame and header blocks are not decoded: a call is
 * good if a message came before its stream ended, since a call that fails has a status and no message. */
#include "load.h"

#include <string.h>

enum { FRAME_HEADER = 9, MOST_DATA = 16384, PREFIX = 5, CONTROL_SIZE = 256, OUTPUT_SIZE = 256 * 1024, FIELDS = 7 };
enum frame_type { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { SETTING_ENABLE_PUSH = 2, SETTING_INITIAL_WINDOW_SIZE = 4 };
enum { LARGEST_WINDOW = 0x7fffffff, FIRST_WINDOW = 65535, GIVEN_BACK_AT = 1 << 20, LAST_STREAM = 0x7ffffff0 };
/* HPACK (RFC 7541): the static table's indexes, and the dynamic table's first. */
enum { AUTHORITY = 1, METHOD_POST = 3, PATH = 4, SCHEME_HTTP = 6, AUTHORIZATION = 23, CONTENT_TYPE = 31, DYNAMIC = 62 };

struct call {
    uint32_t stream; /* 0: none, it is not sent yet */
    bool waits;      /* until the server's window has room */
    uint64_t sent_at; /* ns */
    bool has_message;
};

struct session {
    uint8_t header[FRAME_HEADER];
    size_t header_size;           /* of what has come of a frame's header */
    uint8_t control[CONTROL_SIZE];
    size_t payload_size, payload_taken;
    uint32_t next_stream;
    int64_t window;               /* bytes of DATA that the server takes now */
    uint32_t to_give_back;        /* bytes of DATA that came since the last WINDOW_UPDATE */
    struct bytes first, others;   /* the header block of a connection's first call, and of those after it */
    struct call *calls;
    uint8_t output[OUTPUT_SIZE];
};

static uint32_t read32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *to++ = (uint8_t)(value >> shift);
    return to;
}

static uint8_t *put_bytes(uint8_t *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

static uint8_t *put_frame_header(uint8_t *to, size_t size, enum frame_type type, uint8_t flags, uint32_t stream)
{
    *to++ = (uint8_t)(size >> 16);
    *to++ = (uint8_t)(size >> 8);
    *to++ = (uint8_t)size;
    *to++ = (uint8_t)type;
    *to++ = flags;
    return put32(to, stream);
}

/* An HPACK integer of which the first byte holds `bits` bits beside `pattern`. */
static uint8_t *put_integer(uint8_t *to, uint8_t pattern, unsigned bits, size_t value)
{
    size_t most = (1u << bits) - 1;
    if (value < most) {
        *to++ = pattern | (uint8_t)value;
        return to;
    }
    *to++ = pattern | (uint8_t)most;
    for (value -= most; value >= 128; value >>= 7)
        *to++ = (uint8_t)(value | 128);
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
    to = put_integer(to, 0, 7, strlen(text));
    return put_bytes(to, text, strlen(text));
}

/* A field that goes into the dynamic table; `name_index` 0: `name` is written out. */
static uint8_t *put_field(uint8_t *to, unsigned name_index, const char *name, const char *value)
{
    to = put_integer(to, 0x40, 6, name_index);
    if (name_index == 0)
        to = put_text(to, name);
    return put_text(to, value);
}

static void make_header_blocks(struct session *session, const struct options *options)
{
    static const char user_agent[] = "grpc-c++/1.85.0";
    size_t room = 1024 + strlen(options->path) + (options->authorization ? strlen(options->authorization) : 0);
    uint8_t *first = allocate(room), *to = first;
    unsigned fields = 5;
    *to++ = 0x80 | METHOD_POST;
    *to++ = 0x80 | SCHEME_HTTP;
    to = put_field(to, PATH, NULL, options->path);
    to = put_field(to, AUTHORITY, NULL, "127.0.0.1");
    to = put_field(to, 0, "te", "trailers");
    to = put_field(to, CONTENT_TYPE, NULL, "application/grpc");
    to = put_field(to, 0, "user-agent", user_agent);
    if (options->authorization) {
        to = put_field(to, AUTHORIZATION, NULL, options->authorization);
        fields++;
    }
    session->first = (struct bytes){first, (size_t)(to - first)};
    uint8_t *others = allocate(FIELDS + 2);
    to = others;
    *to++ = 0x80 | METHOD_POST;
    *to++ = 0x80 | SCHEME_HTTP;
    while (fields-- > 0) /* the field that was put there first has the highest index */
        *to++ = (uint8_t)(0x80 | (DYNAMIC + fields));
    session->others = (struct bytes){others, (size_t)(to - others)};
}

static void *create(const struct load *load)
{
    struct session *session = allocate(sizeof *session);
    if (load->options.request.size > MOST_DATA - PREFIX)
        fail("the message is larger than one frame (%d bytes)", MOST_DATA - PREFIX);
    session->calls = allocate(load->options.streams * sizeof *session->calls);
    make_header_blocks(session, &load->options);
    return session;
}

/* Returns where `size` bytes can be put behind what is still to be written. */
static uint8_t *reserve(struct connection *connection, size_t size)
{
    struct session *session = connection->protocol;
    if (connection->out != session->output) {
        memmove(session->output, connection->out, connection->out_size);
        connection->out = session->output;
    }
    if (connection->out_size + size > OUTPUT_SIZE)
        fail("the server does not read");
    connection->out_size += size;
    return session->output + connection->out_size - size;
}

static void put_window_update(struct connection *connection, uint32_t increment)
{
    uint8_t *to = reserve(connection, FRAME_HEADER + 4);
    put32(put_frame_header(to, 4, WINDOW_UPDATE, 0, 0), increment);
}

/* Sends a call that waits, unless the server's window has no room for it now. */
static void send_call(const struct load *load, struct connection *connection, struct call *call)
{
    struct session *session = connection->protocol;
    const struct bytes message = load->options.request;
    size_t data_size = PREFIX + message.size;
    if (!call->waits || session->window < (int64_t)data_size)
        return;
    const struct bytes block = session->next_stream == 1 ? session->first : session->others;
    uint8_t *to = reserve(connection, FRAME_HEADER + block.size + FRAME_HEADER + data_size);
    to = put_frame_header(to, block.size, HEADERS, END_HEADERS, session->next_stream);
    to = put_bytes(to, block.data, block.size);
    to = put_frame_header(to, data_size, DATA, END_STREAM, session->next_stream);
    *to++ = 0; /* not compressed */
    to = put32(to, (uint32_t)message.size);
    put_bytes(to, message.data, message.size);
    session->window -= (int64_t)data_size;
    *call = (struct call){.stream = session->next_stream, .sent_at = now_ns()};
    session->next_stream += 2;
}

static void begin(struct load *load, struct connection *connection, struct call *call)
{
    *call = (struct call){.waits = may_ask(load, connection)};
    send_call(load, connection, call);
}

static void opened(struct load *load, struct connection *connection)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct session *session = connection->protocol;
    session->header_size = session->payload_size = session->payload_taken = 0;
    session->next_stream = 1;
    session->window = FIRST_WINDOW;
    session->to_give_back = 0;
    connection->out = session->output;
    uint8_t *to = reserve(connection, sizeof preface - 1 + FRAME_HEADER + 12);
    to = put_bytes(to, preface, sizeof preface - 1);
    to = put_frame_header(to, 12, SETTINGS, 0, 0);
    to = put32(put_bytes(to, (uint8_t[]){0, SETTING_ENABLE_PUSH}, 2), 0);
    put32(put_bytes(to, (uint8_t[]){0, SETTING_INITIAL_WINDOW_SIZE}, 2), LARGEST_WINDOW);
    put_window_update(connection, LARGEST_WINDOW - FIRST_WINDOW);
    for (unsigned i = 0; i < load->options.streams; i++)
        begin(load, connection, &session->calls[i]);
    if (!flush_output(load, connection))
        fail("the server closed a new connection");
}

static struct call *call_of(const struct load *load, struct session *session, uint32_t stream)
{
    for (unsigned i = 0; stream != 0 && i < load->options.streams; i++)
        if (session->calls[i].stream == stream)
            return &session->calls[i];
    return NULL;
}

/* A call ended: count it and begin the next in its place. */
static void end(struct load *load, struct connection *connection, struct call *call, bool good, unsigned status)
{
    count_answer(load, connection, now_ns() - call->sent_at, good, status);
    begin(load, connection, call);
}

static void send_waiting(const struct load *load, struct connection *connection)
{
    struct session *session = connection->protocol;
    for (unsigned i = 0; i < load->options.streams; i++)
        send_call(load, connection, &session->calls[i]);
}

static void data_came(struct connection *connection, struct call *call, size_t size)
{
    struct session *session = connection->protocol;
    if (call != NULL && size > 0)
        call->has_message = true;
    session->to_give_back += (uint32_t)size;
    if (session->to_give_back >= GIVEN_BACK_AT) {
        put_window_update(connection, session->to_give_back);
        session->to_give_back = 0;
    }
}

static void answer_settings(struct connection *connection)
{
    put_frame_header(reserve(connection, FRAME_HEADER), 0, SETTINGS, ACK, 0);
}

static void answer_ping(struct connection *connection, const uint8_t *payload)
{
    uint8_t *to = put_frame_header(reserve(connection, FRAME_HEADER + 8), 8, PING, ACK, 0);
    put_bytes(to, payload, 8);
}

/* Acts on a whole frame; false if the server ends the connection. */
static bool frame_came(struct load *load, struct connection *connection)
{
    struct session *session = connection->protocol;
    enum frame_type type = session->header[3];
    uint8_t flags = session->header[4];
    uint32_t stream = read32(session->header + 5) & LARGEST_WINDOW;
    struct call *call = call_of(load, session, stream);
    switch (type) {
    case DATA: data_came(connection, call, session->payload_size); break;
    case RST_STREAM:
        if (call != NULL)
            end(load, connection, call, false, read32(session->control));
        return true;
    case SETTINGS:
        if (!(flags & ACK))
            answer_settings(connection);
        return true;
    case PING:
        if (!(flags & ACK))
            answer_ping(connection, session->control);
        return true;
    case WINDOW_UPDATE:
        if (stream == 0) {
            session->window += read32(session->control) & LARGEST_WINDOW;
            send_waiting(load, connection);
        }
        return true;
    case GOAWAY: return false;
    default: break;
    }
    if ((type == DATA || type == HEADERS) && (flags & END_STREAM) && call != NULL)
        end(load, connection, call, call->has_message, 0);
    return session->next_stream < LAST_STREAM;
}

/* Takes what it can of one frame and returns how much. Of payloads only the beginning is kept. */
static size_t take(struct session *session, const uint8_t *data, size_t size)
{
    if (session->header_size < FRAME_HEADER) {
        size_t missing = FRAME_HEADER - session->header_size, taken = size < missing ? size : missing;
        memcpy(session->header + session->header_size, data, taken);
        session->header_size += taken;
        session->payload_size = read32(session->header) >> 8;
        session->payload_taken = 0;
        return taken;
    }
    size_t missing = session->payload_size - session->payload_taken, taken = size < missing ? size : missing;
    if (session->payload_taken < CONTROL_SIZE) {
        size_t room = CONTROL_SIZE - session->payload_taken;
        memcpy(session->control + session->payload_taken, data, taken < room ? taken : room);
    }
    session->payload_taken += taken;
    return taken;
}

static bool received(struct load *load, struct connection *connection, const uint8_t *data, size_t size)
{
    struct session *session = connection->protocol;
    for (size_t at = 0; at < size;) {
        at += take(session, data + at, size - at);
        if (session->header_size == FRAME_HEADER && session->payload_taken == session->payload_size) {
            session->header_size = 0;
            if (!frame_came(load, connection))
                return false;
        }
    }
    return flush_output(load, connection);
}

const struct protocol GRPC = {.create = create, .opened = opened, .received = received};
