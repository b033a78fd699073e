/* SPDX-License-Identifier: MIT */
/*
 * HTTP server: HTTP/1.1 on ouro_serve(), parsed by llhttp.
 *
 *     http_server [HOST:PORT] [requests|tasks] [SECONDS]
 *
 * By default 127.0.0.1:8080, requests, 20.
 *
 *     GET, HEAD /         says hello
 *     POST, PUT /echo     answers with the body of the request
 *
 * Connections are kept alive and requests may be pipelined.  The bytes of a read are parsed to
 * their end, and the answers to all requests in them go out in one write.
 *
 * With `requests` it serves in request mode: a connection that waits for its next request has no
 * task and no buffer, and is closed when the server drains.  With `tasks` each connection has a
 * task that waits in a read.  That is one operation less for each request, a stack more for each
 * connection, and the drain waits for connections without a request until its grace time ends.
 *
 * What a client can make the server hold is bounded: HEAD_MAX bytes of a request's line and headers
 * (414, 431), BODY_MAX bytes of a body (413), and the answers to the requests of one read.  A
 * request that has begun must be complete after SECONDS (408).  ouro_serve() ends connections that
 * are idle, or whose peer does not read, after 60 seconds.  A malformed request is answered with
 * 400.
 */
#include <errno.h>
#include <llhttp.h>
#include <ouro.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    HEAD_MAX = 8192,
    HEADERS_MAX = 100,
    BODY_MAX = 1 << 20,
    PATH_MAX_KEPT = 64,  /* of a request's target; no longer one names anything here */
    VALUE_MAX_KEPT = 16, /* of a header's name and value: enough for those that are looked at */
    SHORT_MAX = 1024,    /* a read of so many bytes or more is followed by one on loan */
    OUTPUT_SMALL = 1024, /* answers up to this size need no heap block */
    LINGER_BYTES = 1 << 20,
};

/* Bytes that grow: on the heap when there are more than fit in `small`. */
struct bytes {
    char *data;
    size_t size;
    size_t capacity;
    char small[OUTPUT_SMALL];
};

/* What has come of a request. */
struct request {
    char path[PATH_MAX_KEPT];
    size_t path_size; /* of the whole target, also what is not kept */
    char name[VALUE_MAX_KEPT];
    size_t name_size;
    char value[VALUE_MAX_KEPT];
    size_t value_size;
    size_t head_size; /* names, values and target */
    size_t raw_size;  /* all bytes that came before the end of the headers */
    unsigned headers;
    unsigned hosts;
    bool has_begun;
    bool is_head_complete;
    bool is_complete;
    bool expects_continue;
    bool keeps_alive;
    int refused; /* a status; 0: not refused */
};

/* A connection while it has a request, or several. */
struct exchange {
    struct ouro_stream *stream;
    struct ouro_server *server;
    int64_t request_ns;
    llhttp_t parser;
    struct request request;
    struct bytes body;
    struct bytes output;
    bool is_ending;  /* nothing more is read from the client */
    bool has_rest;   /* and bytes of it are left unread */
    bool has_filled; /* the last read was long: more may be there */
};

struct options {
    const char *address;
    bool by_requests;
    int64_t request_ns;
};

static void bytes_init(struct bytes *bytes)
{
    bytes->data = bytes->small;
    bytes->size = 0;
    bytes->capacity = sizeof(bytes->small);
}

static void bytes_free(struct bytes *bytes)
{
    if (bytes->data != bytes->small)
        free(bytes->data);
    bytes_init(bytes);
}

static bool bytes_append(struct bytes *bytes, const void *data, size_t size)
{
    if (size > bytes->capacity - bytes->size) {
        size_t capacity = bytes->capacity;
        while (capacity - bytes->size < size)
            capacity *= 2;
        char *grown = malloc(capacity);
        if (grown == NULL)
            return false;
        memcpy(grown, bytes->data, bytes->size);
        if (bytes->data != bytes->small)
            free(bytes->data);
        bytes->data = grown;
        bytes->capacity = capacity;
    }
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return true;
}

static bool append_text(struct bytes *bytes, const char *text)
{
    return bytes_append(bytes, text, strlen(text));
}

static bool append_number(struct bytes *bytes, size_t number)
{
    char digits[24];
    char *first = digits + sizeof(digits);
    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return bytes_append(bytes, first, (size_t)(digits + sizeof(digits) - first));
}

/* Appends the header lines that all answers have, up to the length of the body.  They have the date
 * and are made once a second by each thread. */
static bool append_common(struct bytes *bytes)
{
    static _Thread_local struct {
        time_t second;
        size_t size;
        char text[128];
    } last;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != last.second) {
        struct tm tm;
        last.size = strftime(last.text, sizeof(last.text),
                             "\r\nServer: ouro\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n"
                             "Content-Type: text/plain\r\nContent-Length: ",
                             gmtime_r(&now.tv_sec, &tm));
        last.second = now.tv_sec;
    }
    return bytes_append(bytes, last.text, last.size);
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "200 OK";
    case 404:
        return "404 Not Found";
    case 405:
        return "405 Method Not Allowed";
    case 408:
        return "408 Request Timeout";
    case 413:
        return "413 Content Too Large";
    case 414:
        return "414 URI Too Long";
    case 417:
        return "417 Expectation Failed";
    case 431:
        return "431 Request Header Fields Too Large";
    case 501:
        return "501 Not Implemented";
    case 503:
        return "503 Service Unavailable";
    case 505:
        return "505 HTTP Version Not Supported";
    default:
        return "400 Bad Request";
    }
}

/* Appends an answer to the output.  @allow is for 405.  Without memory the connection ends. */
static void respond(struct exchange *x, int status, const char *allow, const void *body,
                    size_t body_size)
{
    struct bytes *out = &x->output;
    bool is_head = x->request.is_head_complete && llhttp_get_method(&x->parser) == HTTP_HEAD;
    bool ok = append_text(out, "HTTP/1.1 ") && append_text(out, reason_of(status)) &&
              append_common(out) && append_number(out, body_size) && append_text(out, "\r\n");
    if (allow != NULL)
        ok = ok && append_text(out, "Allow: ") && append_text(out, allow) &&
             append_text(out, "\r\n");
    if (x->is_ending)
        ok = ok && append_text(out, "Connection: close\r\n");
    else if (llhttp_get_http_minor(&x->parser) == 0)
        ok = ok && append_text(out, "Connection: keep-alive\r\n");
    ok = ok && append_text(out, "\r\n");
    if (!is_head)
        ok = ok && bytes_append(out, body, body_size);
    if (!ok)
        x->is_ending = x->has_rest = true;
}

/* Answers a request that cannot be carried on with: the rest of the bytes has no meaning. */
static void refuse(struct exchange *x, int status)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%s\n", reason_of(status));
    x->is_ending = x->has_rest = true;
    respond(x, status, NULL, text, (size_t)size);
}

static bool path_is(const struct request *request, const char *path)
{
    size_t query = 0;
    size_t kept = request->path_size < PATH_MAX_KEPT ? request->path_size : PATH_MAX_KEPT;
    while (query < kept && request->path[query] != '?')
        query++;
    bool is_whole = query < kept || request->path_size <= PATH_MAX_KEPT;
    return is_whole && strlen(path) == query && memcmp(request->path, path, query) == 0;
}

/* Answers a request that is complete.  Here a program of your own begins. */
static void answer(struct exchange *x)
{
    static const char hello[] = "hello, world\n";
    unsigned method = llhttp_get_method(&x->parser);
    if (path_is(&x->request, "/")) {
        if (method == HTTP_GET || method == HTTP_HEAD)
            respond(x, 200, NULL, hello, sizeof(hello) - 1);
        else
            respond(x, 405, "GET, HEAD", "", 0);
    } else if (path_is(&x->request, "/echo")) {
        if (method == HTTP_POST || method == HTTP_PUT)
            respond(x, 200, NULL, x->body.data, x->body.size);
        else
            respond(x, 405, "POST, PUT", "", 0);
    } else {
        respond(x, 404, NULL, "", 0);
    }
}

/*
 * The parser's callbacks.  Each keeps what is needed of a request, and stops the parser with a
 * status when the request is too large or makes no sense.
 */

static int stop(struct exchange *x, int status)
{
    x->request.refused = status;
    return HPE_USER;
}

/* Appends to a field of a request that keeps its first @capacity bytes. */
static void keep(char *kept, size_t capacity, size_t *size, const char *data, size_t n)
{
    if (*size < capacity)
        memcpy(kept + *size, data, n < capacity - *size ? n : capacity - *size);
    *size += n;
}

static int on_message_begin(llhttp_t *parser)
{
    struct exchange *x = parser->data;
    x->request.has_begun = true;
    return 0;
}

static int on_url(llhttp_t *parser, const char *data, size_t size)
{
    struct exchange *x = parser->data;
    keep(x->request.path, PATH_MAX_KEPT, &x->request.path_size, data, size);
    x->request.head_size += size;
    return x->request.head_size > HEAD_MAX ? stop(x, 414) : 0;
}

static int on_header_field(llhttp_t *parser, const char *data, size_t size)
{
    struct exchange *x = parser->data;
    keep(x->request.name, VALUE_MAX_KEPT, &x->request.name_size, data, size);
    x->request.head_size += size;
    return x->request.head_size > HEAD_MAX ? stop(x, 431) : 0;
}

static int on_header_value(llhttp_t *parser, const char *data, size_t size)
{
    struct exchange *x = parser->data;
    keep(x->request.value, VALUE_MAX_KEPT, &x->request.value_size, data, size);
    x->request.head_size += size;
    return x->request.head_size > HEAD_MAX ? stop(x, 431) : 0;
}

static bool text_is(const char *kept, size_t size, const char *text)
{
    return size == strlen(text) && strncasecmp(kept, text, size) == 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct exchange *x = parser->data;
    struct request *request = &x->request;
    if (text_is(request->name, request->name_size, "host"))
        request->hosts++;
    if (text_is(request->name, request->name_size, "expect")) {
        if (!text_is(request->value, request->value_size, "100-continue"))
            return stop(x, 417);
        request->expects_continue = true;
    }
    request->name_size = 0;
    request->value_size = 0;
    return ++request->headers > HEADERS_MAX ? stop(x, 431) : 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct exchange *x = parser->data;
    struct request *request = &x->request;
    unsigned minor = llhttp_get_http_minor(parser);
    request->is_head_complete = true;
    request->keeps_alive = llhttp_should_keep_alive(parser) != 0;
    parser->upgrade = 0; /* no other protocol is offered: the request is answered as it is */
    if (llhttp_get_http_major(parser) != 1 || minor > 1)
        return stop(x, 505);
    if (request->hosts > 1 || (request->hosts == 0 && minor == 1))
        return stop(x, 400);
    if (llhttp_get_method(parser) == HTTP_CONNECT)
        return stop(x, 501);
    if (parser->content_length > BODY_MAX)
        return stop(x, 413);
    /* The client sends its body when it is told to. */
    bool has_body = parser->content_length > 0 || (parser->flags & F_CHUNKED) != 0;
    return request->expects_continue && has_body && minor == 1 ? HPE_PAUSED : 0;
}

/* An extension of a chunk is read past, and counted like a header. */
static int on_chunk_extension(llhttp_t *parser, const char *data, size_t size)
{
    struct exchange *x = parser->data;
    (void)data;
    x->request.head_size += size;
    return x->request.head_size > HEAD_MAX ? stop(x, 431) : 0;
}

static int on_body(llhttp_t *parser, const char *data, size_t size)
{
    struct exchange *x = parser->data;
    if (size > BODY_MAX - x->body.size)
        return stop(x, 413);
    return bytes_append(&x->body, data, size) ? 0 : stop(x, 503);
}

static int on_message_complete(llhttp_t *parser)
{
    struct exchange *x = parser->data;
    x->request.is_complete = true;
    return HPE_PAUSED; /* to be answered before the next one is parsed */
}

static const llhttp_settings_t callbacks = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void next_request(struct exchange *x)
{
    x->request = (struct request){.has_begun = false};
    bytes_free(&x->body);
}

/* Parses @size bytes to their end, and appends the answers to the output. */
static void parse(struct exchange *x, const char *data, size_t size)
{
    const char *end = data + size;
    while (data < end && !x->is_ending) {
        struct request *request = &x->request;
        llhttp_errno_t error = llhttp_execute(&x->parser, data, (size_t)(end - data));
        const char *stopped = error == HPE_OK ? end : llhttp_get_error_pos(&x->parser);
        if (!request->is_head_complete)
            request->raw_size += (size_t)(stopped - data);
        data = stopped;
        if (error == HPE_PAUSED && request->is_complete) {
            x->is_ending = !request->keeps_alive || ouro_server_is_draining(x->server);
            x->has_rest = data < end;
            answer(x);
            next_request(x);
            llhttp_resume(&x->parser);
        } else if (error == HPE_PAUSED) {
            /* A client that has sent some of its body already has not waited. */
            if (data == end && !append_text(&x->output, "HTTP/1.1 100 Continue\r\n\r\n"))
                x->is_ending = true;
            llhttp_resume(&x->parser);
        } else if (error != HPE_OK) {
            refuse(x, request->refused != 0 ? request->refused : 400);
        } else if (request->raw_size > 2 * HEAD_MAX) {
            refuse(x, 431); /* white space is in no callback */
        }
    }
}

/* Most requests are short: a buffer on the stack costs less than one on loan. */
static ssize_t receive_short(struct exchange *x)
{
    char buffer[SHORT_MAX];
    ssize_t n = ouro_stream_read(x->stream, buffer, sizeof(buffer));
    if (n > 0)
        parse(x, buffer, (size_t)n);
    return n;
}

/* The buffer on loan is given back before the answers are written: a client that does not read
 * holds none. */
static ssize_t receive_long(struct exchange *x)
{
    struct ouro_loan loan;
    ssize_t n = ouro_stream_read_loan(x->stream, &loan);
    if (n > 0) {
        parse(x, loan.data, loan.size);
        ouro_loan_release(&loan);
    }
    return n;
}

/* Reads once, and appends the answers to what has come. */
static int receive(struct exchange *x)
{
    ssize_t n = x->has_filled ? receive_long(x) : receive_short(x);
    if (n == -ETIMEDOUT && x->request.has_begun)
        return -ETIMEDOUT;
    x->has_filled = n >= SHORT_MAX;
    if (n <= 0)
        x->is_ending = true;
    return n < 0 ? (int)n : 0;
}

static int send_output(struct exchange *x)
{
    int rc = 0;
    if (x->output.size > 0)
        rc = ouro_stream_write_all(x->stream, x->output.data, x->output.size, NULL);
    bytes_free(&x->output);
    return rc;
}

/* Receives the rest of a request that has begun, in the time for a request. */
static int receive_rest(struct exchange *x)
{
    int rc = 0;
    OURO_DEADLINE(limit, x->request_ns);
    while (rc == 0 && x->request.has_begun && !x->is_ending) {
        rc = receive(x);
        if (rc == 0)
            rc = send_output(x);
    }
    return rc;
}

/* Closing with bytes of the client unread would reset the connection, and the client might never
 * see its answer.  So it gets a second to read it and to stop sending. */
static void linger(struct exchange *x)
{
    char rest[4096];
    size_t left = LINGER_BYTES;
    ssize_t n = 0;
    OURO_DEADLINE(limit, OURO_SECOND);
    ouro_stream_shutdown(x->stream, OURO_SHUTDOWN_WRITE);
    while (left > 0 && (n = ouro_stream_read(x->stream, rest, sizeof(rest))) > 0)
        left = left < (size_t)n ? 0 : left - (size_t)n;
}

/* Serves the requests that have come, to the end of the last one.  Waits for the first byte where
 * it has not come. */
static int serve_some(struct exchange *x)
{
    int rc = receive(x);
    if (rc == 0)
        rc = send_output(x);
    if (rc == 0 && x->request.has_begun && !x->is_ending)
        rc = receive_rest(x);
    if (rc == -ETIMEDOUT && x->request.has_begun) {
        refuse(x, 408);
        rc = send_output(x);
    }
    return rc;
}

static int serve_http(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    const struct options *options = arg;
    struct exchange x; /* not zeroed as a whole: most of it is room */
    x.stream = stream;
    x.server = peer->server;
    x.request_ns = options->request_ns;
    x.request = (struct request){.has_begun = false};
    x.is_ending = x.has_rest = x.has_filled = false;
    bytes_init(&x.body);
    bytes_init(&x.output);
    llhttp_init(&x.parser, HTTP_REQUEST, &callbacks);
    x.parser.data = &x;

    int rc = 0;
    do
        rc = serve_some(&x);
    while (rc == 0 && !x.is_ending && !options->by_requests);
    if (rc == 0 && x.has_rest)
        linger(&x);
    bytes_free(&x.body);
    bytes_free(&x.output);
    if (rc < 0)
        return rc;
    return x.is_ending ? OURO_SERVE_CLOSE : OURO_SERVE_KEEP;
}

static int serve(void *arg)
{
    struct options *options = arg;
    struct ouro_serve_options serve_options = OURO_SERVE_OPTIONS_INIT;
    struct ouro_server *server = NULL;
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];
    serve_options.addresses = options->address;
    serve_options.flags = options->by_requests ? OURO_SERVE_F_REQUESTS : 0;
    serve_options.request_ns = OURO_SERVE_NO_TIMEOUT; /* receive_rest() has one, with a 408 */
    int rc = ouro_server_new(&serve_options, serve_http, options, &server);
    if (rc < 0)
        return rc;
    rc = ouro_server_addr(server, 0, &addr);
    if (rc == 0) {
        printf("listening on %s\n", ouro_socket_addr_format(&addr, text, sizeof(text)));
        fflush(stdout);
        rc = ouro_server_run(server);
    }
    ouro_server_free(server);
    return rc;
}

int main(int argc, char **argv)
{
    struct options options = {
        .address = argc > 1 ? argv[1] : "127.0.0.1:8080",
        .by_requests = argc <= 2 || strcmp(argv[2], "requests") == 0,
        .request_ns = (int64_t)((argc > 3 ? strtod(argv[3], NULL) : 20) * 1e9),
    };
    if (argc > 4 || (argc > 2 && !options.by_requests && strcmp(argv[2], "tasks") != 0) ||
        options.request_ns <= 0) {
        fprintf(stderr, "usage: http_server [HOST:PORT] [requests|tasks] [SECONDS]\n");
        return 2;
    }
    int rc = ouro_run(serve, &options);
    if (rc < 0)
        fprintf(stderr, "http_server: %s\n", ouro_strerror(rc));
    return rc < 0;
}
