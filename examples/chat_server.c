/* SPDX-License-Identifier: MIT */
/*
 * Chat server: lines from one client to all others.
 *
 *     chat_server [HOST:PORT]                                      127.0.0.1:6667 by default
 *     $ nc 127.0.0.1 6667
 *
 * A client's first line is its name.  Each further line goes to everybody else.
 *
 * A member has two tasks: the handler reads its lines, and a writer sends what others have said.
 * Between them is a queue of at most QUEUE_MAX bytes.  Who reads too slowly has a full queue; that
 * member is told so and leaves, and nobody waits for it.  So a member costs at most twice QUEUE_MAX
 * bytes (the queue, and what the writer is sending), whatever it does.
 *
 * The program has one thread, so the list of members and the queues need no locks.
 */
#include <ctype.h>
#include <errno.h>
#include <ouro.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_SIZE = 32, LINE_MAX_SIZE = 1024, QUEUE_MAX = 262144 };

struct member {
    struct member *next;
    struct ouro_stream *stream;
    char name[NAME_MAX_SIZE + 1];
    char *queue; /* NULL: empty */
    size_t queued;
    struct ouro_waker writer; /* waits for the queue; empty: it does not wait */
    bool has_left;            /* nothing more is queued */
    bool is_slow;
};

static struct member *members;

static void wake_writer(struct member *member)
{
    if (member->writer.vtable != NULL)
        ouro_waker_wake(&member->writer);
}

/* Queues a text, whatever is queued already.  Without memory it is dropped. */
static void queue_text(struct member *member, const char *text, size_t size)
{
    char *queue = realloc(member->queue, member->queued + size);
    if (queue == NULL)
        return;
    memcpy(queue + member->queued, text, size);
    member->queue = queue;
    member->queued += size;
    wake_writer(member);
}

static void unlink_member(struct member *member)
{
    for (struct member **at = &members; *at != NULL; at = &(*at)->next) {
        if (*at == member) {
            *at = member->next;
            return;
        }
    }
}

/* A member with a full queue.  Its handler sees the end of the stream, and says the rest. */
static void drop(struct member *member)
{
    static const char text[] = "* you read too slowly\n";
    unlink_member(member);
    member->is_slow = true;
    queue_text(member, text, sizeof(text) - 1);
    ouro_stream_shutdown(member->stream, OURO_SHUTDOWN_READ);
}

/* To all members but @from. */
static void tell_others(const struct member *from, const char *text, size_t size)
{
    struct member *next = NULL;
    for (struct member *member = members; member != NULL; member = next) {
        next = member->next;
        if (member == from)
            continue;
        if (member->queued + size > QUEUE_MAX)
            drop(member);
        else
            queue_text(member, text, size);
    }
}

static void announce(const struct member *member, const char *what)
{
    char text[NAME_MAX_SIZE + 64];
    int size = snprintf(text, sizeof(text), "* %s %s\n", member->name, what);
    tell_others(member, text, (size_t)size);
}

/* Ready when there is something to send, or never will be. */
static enum ouro_poll poll_queue(void *arg, const struct ouro_waker *waker)
{
    struct member *member = arg;
    ouro_waker_drop(&member->writer);
    if (member->queued > 0 || member->has_left)
        return OURO_POLL_READY;
    member->writer = ouro_waker_clone(waker);
    return OURO_POLL_PENDING;
}

static int write_queue(void *arg)
{
    struct member *member = arg;
    int rc = 0;
    while (rc == 0 && (rc = ouro_poll_fn(poll_queue, member)) == 0 && member->queued > 0) {
        char *queue = member->queue;
        size_t size = member->queued;
        member->queue = NULL;
        member->queued = 0;
        rc = ouro_stream_write_all(member->stream, queue, size, NULL);
        free(queue);
    }
    ouro_waker_drop(&member->writer);
    /* The handler must not wait for lines of a client that cannot be reached. */
    if (rc < 0)
        ouro_stream_shutdown(member->stream, OURO_SHUTDOWN_READ);
    return rc;
}

/* A line without its end, which is LF or CR LF; NULL at the end of the stream or of the waiting. */
static const char *read_line(struct ouro_reader *reader, size_t size_max, size_t *out_size,
                             int *out_rc)
{
    const void *line = NULL;
    ssize_t n = ouro_reader_read_until(reader, "\n", 1, size_max, &line);
    *out_rc = n < 0 ? (int)n : 0;
    if (n <= 0)
        return NULL;
    const char *text = line;
    *out_size = (size_t)n - 1;
    if (*out_size > 0 && text[*out_size - 1] == '\r')
        --*out_size;
    return text;
}

/* Letters, digits, '-' and '_', and nobody else's. */
static bool take_name(struct member *member, const char *text, size_t size)
{
    if (size == 0 || size > NAME_MAX_SIZE)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return false;
    }
    memcpy(member->name, text, size);
    member->name[size] = '\0';
    for (const struct member *other = members; other != NULL; other = other->next) {
        if (strcmp(other->name, member->name) == 0)
            return false;
    }
    return true;
}

/* Passes lines on until the member leaves.  Returns why, for the others. */
static const char *talk(struct member *member, struct ouro_reader *reader)
{
    char text[NAME_MAX_SIZE + 2 + LINE_MAX_SIZE + 1];
    const char *line = NULL;
    size_t size = 0;
    int rc = 0;
    while ((line = read_line(reader, LINE_MAX_SIZE, &size, &rc)) != NULL) {
        int head = snprintf(text, sizeof(text), "%s: ", member->name);
        memcpy(text + head, line, size);
        text[(size_t)head + size] = '\n';
        tell_others(member, text, (size_t)head + size + 1);
        if (ouro_yield() < 0) /* so that the writers keep up with many lines at once */
            break;
    }
    if (member->is_slow)
        return "was too slow";
    if (rc == -EMSGSIZE)
        queue_text(member, "* that line is too long\n", strlen("* that line is too long\n"));
    else if (rc == -ECANCELED)
        queue_text(member, "* the server is going down\n", strlen("* the server is going down\n"));
    return "has left";
}

/* The writer has three seconds for what is left, also when the server ends. */
static void end_writer(struct member *member, struct ouro_group *group)
{
    struct ouro_shield shield;
    int shield_rc = ouro_shield_begin(&shield);
    struct ouro_deadline limit;
    int limit_rc = ouro_deadline_begin(&limit, 3 * OURO_SECOND);
    member->has_left = true;
    wake_writer(member);
    (void)ouro_group_end(group);
    if (limit_rc == 0)
        ouro_deadline_end(&limit);
    if (shield_rc == 0)
        ouro_shield_end(&shield);
    free(member->queue);
}

static int chat(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct member member = {.stream = stream};
    struct ouro_reader reader;
    struct ouro_group group;
    size_t size = 0;
    (void)peer, (void)arg;
    int rc = ouro_stream_write_all(stream, "name?\n", 6, NULL);
    if (rc == 0)
        rc = ouro_reader_init(&reader, stream);
    if (rc < 0)
        return rc;
    const char *name = read_line(&reader, LINE_MAX_SIZE, &size, &rc);
    if (name == NULL || !take_name(&member, name, size)) {
        static const char no[] = "* not that name\n";
        if (name != NULL || rc == -EMSGSIZE)
            rc = ouro_stream_write_all(stream, no, sizeof(no) - 1, NULL);
        ouro_reader_fini(&reader);
        return rc;
    }
    rc = ouro_group_begin(&group, 0);
    if (rc == 0) {
        rc = ouro_group_spawn(&group, NULL, write_queue, &member);
        if (rc == 0) {
            member.next = members;
            members = &member;
            announce(&member, "has come");
            const char *why = talk(&member, &reader);
            unlink_member(&member);
            announce(&member, why);
        }
        end_writer(&member, &group);
    }
    ouro_reader_fini(&reader);
    return rc;
}

static int serve(void *arg)
{
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    struct ouro_server *server = NULL;
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];
    options.addresses = arg;
    options.idle_ns = OURO_SERVE_NO_TIMEOUT; /* listening is enough; the kernel's keepalive */
    options.connection_ns = OURO_SERVE_NO_TIMEOUT;
    options.grace_ns = OURO_SECOND / 10; /* nobody leaves by himself */
    int rc = ouro_server_new(&options, chat, NULL, &server);
    if (rc < 0)
        return rc;
    rc = ouro_server_addr(server, 0, &addr);
    if (rc == 0) {
        printf("listening on %s\n", ouro_socket_addr_format(&addr, text, sizeof(text)));
        fflush(stdout);
        rc = ouro_server_run(server);
    }
    ouro_server_free(server);
    return rc == -ETIMEDOUT ? 0 : rc; /* members were cut off, as intended */
}

int main(int argc, char **argv)
{
    char address[] = "127.0.0.1:6667";
    int rc = ouro_run(serve, argc > 1 ? argv[1] : address);
    if (rc < 0)
        fprintf(stderr, "chat_server: %s\n", ouro_strerror(rc));
    return rc < 0;
}
