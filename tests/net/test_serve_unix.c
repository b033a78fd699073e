/* SPDX-License-Identifier: MIT */
/*
 * Servers at Unix sockets: paths, abstract names and the caller's listeners, in both modes.
 */
#include "serve_rig.h"
#include "unix_names.h"

#include <sys/stat.h>

struct names {
    struct ouro_test_scratch scratch;
    char path[128];      /* with "unix:" */
    char abstract[64];   /* likewise */
    char addresses[256]; /* both, and a TCP one between them */
};

static void open_names(struct names *names)
{
    ouro_test_scratch_open(&names->scratch);
    (void)snprintf(names->path, sizeof(names->path), "unix:%s",
                   ouro_test_scratch_path(&names->scratch, "socket"));
    (void)snprintf(names->abstract, sizeof(names->abstract), "unix:@ouro-test-serve-%d",
                   (int)getpid());
    (void)snprintf(names->addresses, sizeof(names->addresses), "%s,127.0.0.1:0,%s", names->path,
                   names->abstract);
}

static bool path_exists(const struct names *names)
{
    return access(names->path + strlen("unix:"), F_OK) == 0;
}

/* A handler that echoes, and looks at who is there. */
static int echo_to_known(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    struct ouro_unix_credentials credentials;
    _Atomic unsigned *workers = rig->data;
    if (ouro_stream_kind(stream) == OURO_STREAM_UNIX) {
        ck_assert_int_eq(ouro_unix_stream_peer_credentials(stream, &credentials), 0);
        ck_assert_uint_eq(credentials.uid, (unsigned)getuid());
        ck_assert_int_eq(ouro_socket_addr_family(&peer->addr), AF_UNIX);
        *workers |= 1u << peer->worker;
    } else {
        ck_assert_int_eq(ouro_socket_addr_family(&peer->addr), AF_INET);
    }
    return rig_echo(stream, peer, arg);
}

static void client_of_all_addresses(struct rig *rig)
{
    for (uint32_t i = 0; i < 3; i++) {
        struct ouro_socket_addr addr;
        ck_assert_int_eq(ouro_server_addr(rig->server, i, &addr), 0);
        for (int j = 0; j < 8; j++) {
            int fd = rig_connect_to(&addr);
            rig_exchange(fd, "first");
            rig_exchange(fd, "second");
            ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
            rig_await_end(fd);
        }
    }
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int serve_all_addresses(void *arg)
{
    struct names names;
    _Atomic unsigned workers = 0;
    struct rig rig = {.handler = echo_to_known, .client = client_of_all_addresses};
    open_names(&names);
    rig.data = &workers;
    rig.options.addresses = names.addresses;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.closed, 24);
    ck_assert_uint_eq(rig.stats.failed, 0);
    if (arg != NULL)
        ck_assert_uint_eq(workers, *(unsigned *)arg);
    ck_assert(!path_exists(&names));
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(unix_addresses_are_served_beside_tcp_ones)
{
    unsigned both = 3; /* workers accept from one listener */
    everywhere(serve_all_addresses, NULL);
    in_place(IN_WORKER_TASK, serve_all_addresses, &both);
}

/* One request: four bytes in, the same four bytes out. */
static int answer(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    char bytes[4];
    size_t got = 0;
    ssize_t n = 1;
    (void)peer;
    rig->in_handler++;
    while (got < sizeof(bytes) && (n = ouro_stream_read(stream, bytes + got, 4 - got)) > 0)
        got += (size_t)n;
    if (n > 0)
        n = ouro_stream_write_all(stream, bytes, sizeof(bytes), NULL) < 0 ? -EPIPE : 1;
    rig->in_handler--;
    rig->handled++;
    return n <= 0 ? -EPROTO : OURO_SERVE_KEEP;
}

enum { EACH = 4 };

static bool half_are_idle(void *arg)
{
    struct rig *rig = arg;
    return rig->in_handler == EACH && rig_stats(rig).idle == EACH;
}

/* Idle connections end at once, requests are finished, new ones are refused. */
static void client_of_requests(struct rig *rig)
{
    int idle[EACH], busy[EACH];
    char back[4];
    for (int i = 0; i < EACH; i++) {
        idle[i] = rig_connect(rig);
        busy[i] = rig_connect(rig);
        rig_exchange(idle[i], "abcd");
        rig_exchange(idle[i], "efgh");
        rig_exchange(busy[i], "ijkl");
        ouro_test_write_exactly(busy[i], "mn", 2);
    }
    RIG_AWAIT(half_are_idle, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    for (int i = 0; i < EACH; i++)
        rig_await_end(idle[i]);
    RIG_AWAIT(rig_refuses, rig);
    for (int i = 0; i < EACH; i++) {
        ouro_test_write_exactly(busy[i], "op", 2);
        ouro_test_read_exactly(busy[i], back, 4);
        ck_assert_mem_eq(back, "mnop", 4);
        rig_await_end(busy[i]);
    }
}

static int serve_requests(void *arg)
{
    struct names names;
    struct rig rig = {.handler = answer, .client = client_of_requests};
    open_names(&names);
    rig.options.addresses = arg == NULL ? names.path : names.abstract;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    rig.options.grace_ns = OURO_SERVE_NO_TIMEOUT;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.requests, 4 * EACH);
    ck_assert_uint_eq(rig.stats.failed, 0);
    ck_assert(!path_exists(&names));
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(requests_over_unix_sockets_are_answered_and_drained)
{
    int abstract = 1;
    everywhere(serve_requests, NULL);
    everywhere(serve_requests, &abstract);
}

#define IDLE_NS (80 * OURO_MILLISECOND)

/* Says nothing. */
static void silent_client(struct rig *rig)
{
    int64_t begin_ns = ouro_test_now_ns();
    int fd = rig_connect(rig);
    rig_exchange(fd, "abcd");
    rig_await_end(fd);
    ck_assert_int_ge(ouro_test_now_ns() - begin_ns, IDLE_NS);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int cut_the_silent(void *arg)
{
    struct names names;
    struct rig rig = {.handler = arg == NULL ? rig_echo : answer, .client = silent_client};
    open_names(&names);
    rig.options.addresses = names.abstract;
    rig.options.flags = arg == NULL ? 0 : OURO_SERVE_F_REQUESTS;
    rig.options.idle_ns = IDLE_NS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    ck_assert_uint_eq(rig.stats.closed, 1);
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(a_silent_peer_of_a_unix_socket_is_cut)
{
    int requests = 1;
    everywhere(cut_the_silent, NULL);
    everywhere(cut_the_silent, &requests);
}

/* Writes more than the peer's buffers hold, in one call. */
static int write_much(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    static char much[8 << 20];
    size_t written = 0;
    (void)peer;
    rig->result = ouro_stream_write_all(stream, much, sizeof(much), &written);
    *(size_t *)rig->data = written;
    return rig->result;
}

static bool one_is_closed(void *arg)
{
    return rig_stats(arg).closed == 1;
}

static void client_that_does_not_read(struct rig *rig)
{
    int fd = rig_connect(rig);
    RIG_AWAIT(one_is_closed, rig);
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

enum { IN_FLIGHT = 16384 };

static int cut_who_does_not_read(void *arg)
{
    struct names names;
    size_t written = 0;
    struct rig rig = {.handler = write_much, .client = client_that_does_not_read};
    (void)arg;
    open_names(&names);
    rig.data = &written;
    rig.options.addresses = names.abstract;
    rig.options.idle_ns = IDLE_NS;
    rig.options.in_flight_max = IN_FLIGHT;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    /* The kernel doubles the size (socket(7)), and takes one piece more. */
    ck_assert_uint_gt(written, 0);
    ck_assert_uint_le(written, 4 * IN_FLIGHT);
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(a_peer_of_a_unix_socket_that_never_reads_is_cut)
{
    everywhere(cut_who_does_not_read, NULL);
}

/* Reads a part in each part of the idle time, so that the one write lasts longer than it. */
static void client_that_reads_slowly(struct rig *rig)
{
    static char part[1 << 20];
    int fd = rig_connect(rig);
    for (int i = 0; i < 8; i++) {
        ouro_test_read_exactly(fd, part, sizeof(part));
        if (i < 7) /* together longer than the idle time */
            ck_assert_int_eq(ouro_test_poll(fd, POLLPRI, 70 * OURO_TEST_MS), 0);
    }
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int keep_who_reads_slowly(void *arg)
{
    struct names names;
    size_t written = 0;
    struct rig rig = {.handler = write_much, .client = client_that_reads_slowly};
    (void)arg;
    open_names(&names);
    rig.data = &written;
    rig.options.addresses = names.abstract;
    rig.options.idle_ns = 400 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, 0);
    ck_assert_uint_eq(rig.stats.timed_out, 0);
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(a_peer_of_a_unix_socket_that_reads_slowly_is_not_idle)
{
    in_place(IN_TASK, keep_who_reads_slowly, NULL);
    in_place(IN_THREAD, keep_who_reads_slowly, NULL);
}

enum { LIMIT = 3 };

static bool one_has_gone(void *arg)
{
    return rig_stats(arg).active == LIMIT - 1;
}

static void client_of_a_user_limit(struct rig *rig)
{
    int fds[LIMIT];
    for (int i = 0; i < LIMIT; i++) {
        fds[i] = rig_connect(rig);
        rig_exchange(fds[i], "x");
    }
    rig_await_end(rig_connect(rig));
    (void)close(fds[0]);
    RIG_AWAIT(one_has_gone, rig);
    fds[0] = rig_connect(rig);
    rig_exchange(fds[0], "x");
    for (int i = 0; i < LIMIT; i++)
        (void)close(fds[i]);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int limit_a_user(void *arg)
{
    struct names names;
    struct rig rig = {.handler = rig_echo, .client = client_of_a_user_limit};
    (void)arg;
    open_names(&names);
    rig.options.addresses = names.abstract;
    rig.options.per_peer_max = LIMIT;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.refused_peer, 1);
    ck_assert_uint_eq(rig.stats.closed, LIMIT + 1);
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(connections_of_one_user_are_limited)
{
    everywhere(limit_a_user, NULL);
}

static void echo_client(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "hello");
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

/* The caller's listeners, and options for the path of an address. */
static int serve_listeners(void *arg)
{
    struct names names;
    struct ouro_unix_listener *listener = NULL;
    struct ouro_unix_listen_options options = OURO_UNIX_LISTEN_OPTIONS_INIT;
    struct rig rig = {.handler = rig_echo, .client = echo_client};
    struct ouro_server *server = NULL;
    (void)arg;
    open_names(&names);
    options.flags = OURO_UNIX_LISTEN_F_SEQPACKET;
    ck_assert_int_eq(ouro_unix_listener_bind(NULL, &options, &listener), 0);
    rig.options.size = sizeof(rig.options);
    rig.options.unix_listeners = &listener;
    rig.options.unix_listeners_count = 1;
    ck_assert_int_eq(ouro_server_new(&rig.options, rig_echo, NULL, &server), -EPROTOTYPE);
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
    ck_assert_int_eq(ouro_unix_listener_bind(NULL, NULL, &listener), 0);
    ck_assert_int_eq(rig_run(&rig), 0);
    rig.options.unix_listeners_count = 0;
    rig.options.addresses = names.path;
    rig.options.unix_listen = &options;
    ck_assert_int_eq(ouro_server_new(&rig.options, rig_echo, NULL, &server), -EPROTOTYPE);
    ck_assert(!path_exists(&names));
    options.flags = 0;
    options.mode = 0600;
    ck_assert_int_eq(ouro_server_new(&rig.options, rig_echo, NULL, &server), 0);
    struct stat status;
    ck_assert_int_eq(stat(names.path + strlen("unix:"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    ck_assert_int_eq(ouro_server_free(server), 0); /* though it has never run */
    ck_assert(!path_exists(&names));
    ouro_test_scratch_close(&names.scratch);
    return 0;
}

OURO_TEST(the_callers_unix_listeners_are_served)
{
    everywhere(serve_listeners, NULL);
}
