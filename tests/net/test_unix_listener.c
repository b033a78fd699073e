/* SPDX-License-Identifier: MIT */
/*
 * Unix listeners: streams and seqpackets accepted, several acceptors, names, close and credentials.
 */
#include "everywhere.h"
#include "unix_names.h"

#include <errno.h>
#include <sys/stat.h>

#include "ouro/error.h"
#include "ouro/group.h"
#include "ouro/stream.h"

static struct ouro_unix_listener *listening(const struct ouro_socket_addr *addr, uint32_t flags)
{
    struct ouro_unix_listen_options options = OURO_UNIX_LISTEN_OPTIONS_INIT;
    struct ouro_unix_listener *listener = NULL;
    options.flags = flags;
    ck_assert_int_eq(ouro_unix_listener_bind(addr, &options, &listener), 0);
    return listener;
}

static int accept_streams(void *arg)
{
    const struct ouro_socket_addr *addr = arg;
    struct ouro_unix_listener *listener = listening(addr, 0);
    struct ouro_unix_listener *second = NULL;
    struct ouro_unix_datagram *seqpacket = NULL;
    struct ouro_stream *ends[2] = {NULL, NULL};
    struct ouro_unix_credentials credentials;
    struct ouro_socket_addr named;
    char buffer[8];
    ck_assert_int_eq(ouro_unix_listener_local_addr(listener, &named), 0);
    if (addr != NULL)
        ck_assert_int_eq(ouro_socket_addr_equal(&named, addr), 1);
    ck_assert_int_eq(ouro_unix_listener_bind(&named, NULL, &second), -EADDRINUSE);
    ck_assert_int_eq(ouro_unix_listener_accept_seqpacket(listener, &seqpacket), -EPROTOTYPE);
    ck_assert_int_eq(ouro_unix_stream_connect(&named, &ends[0]), 0);
    ck_assert_int_eq(ouro_unix_listener_accept(listener, &ends[1]), 0);
    ck_assert_int_eq(ouro_unix_stream_peer_credentials(ends[1], &credentials), 0);
    ck_assert_int_eq(credentials.pid, getpid());
    ck_assert_int_eq(ouro_stream_write(ends[0], "hello", 5), 5);
    ck_assert_int_eq(ouro_stream_read(ends[1], buffer, 8), 5);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_stream_close(ends[i]), 0);
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
    ck_assert_int_lt(ouro_unix_stream_connect(&named, &ends[0]), 0);
    return 0;
}

OURO_TEST(streams_are_accepted_at_any_name)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    struct ouro_socket_addr path = unix_path(&scratch, "listener");
    struct ouro_socket_addr abstract = unix_abstract("listener");
    everywhere(accept_streams, &path);
    everywhere(accept_streams, &abstract);
    everywhere(accept_streams, NULL); /* the kernel chooses */
    ouro_test_scratch_close(&scratch);
}

static int accept_seqpackets(void *arg)
{
    struct ouro_socket_addr addr = unix_abstract("seqpackets");
    struct ouro_unix_listener *listener = listening(&addr, OURO_UNIX_LISTEN_F_SEQPACKET);
    struct ouro_unix_datagram *ends[2] = {NULL, NULL};
    struct ouro_stream *stream = NULL;
    char buffer[8];
    (void)arg;
    ck_assert_int_eq(ouro_unix_listener_accept(listener, &stream), -EPROTOTYPE);
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&addr, &ends[0]), 0);
    ck_assert_int_eq(ouro_unix_listener_accept_seqpacket(listener, &ends[1]), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_unix_datagram_send(ends[i], "", 0), 0);
        ck_assert_int_eq(ouro_unix_datagram_send(ends[i], "abc", 3), 3);
        ck_assert_int_eq(ouro_unix_datagram_shutdown(ends[i], OURO_SHUTDOWN_WRITE), 0);
        ck_assert_int_eq(ouro_unix_datagram_recv(ends[1 - i], buffer, 8), 0);
        ck_assert_int_eq(ouro_unix_datagram_recv(ends[1 - i], buffer, 8), 3);
        ck_assert_int_eq(ouro_unix_datagram_recv(ends[1 - i], buffer, 8), -ENODATA);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_unix_datagram_close(ends[i]), 0);
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
    return 0;
}

OURO_TEST(seqpackets_are_accepted_with_their_boundaries)
{
    everywhere(accept_seqpackets, NULL);
}

enum { ACCEPTORS = 4 };

struct accepting {
    struct ouro_unix_listener *listener;
    struct ouro_stream *stream;
    int rc;
};

static int accept_task(void *arg)
{
    struct accepting *accepting = arg;
    accepting->rc = ouro_unix_listener_accept(accepting->listener, &accepting->stream);
    return 0;
}

/* Several wait: each connection goes to one of them, and close ends the others. */
static int accept_from_many(void *arg)
{
    struct ouro_socket_addr addr = unix_abstract("many");
    struct ouro_unix_listener *listener = listening(&addr, 0);
    struct accepting accepting[ACCEPTORS];
    struct ouro_task *tasks[ACCEPTORS];
    struct ouro_stream *clients[2];
    int accepted = 0;
    (void)arg;
    for (int i = 0; i < ACCEPTORS; i++) {
        accepting[i] = (struct accepting){.listener = listener, .rc = 77};
        ck_assert_int_eq(ouro_task_spawn_here(accept_task, &accepting[i], &tasks[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_unix_stream_connect(&addr, &clients[i]), 0);
    do {
        accepted = 0;
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        for (int i = 0; i < ACCEPTORS; i++)
            accepted += accepting[i].rc == 0;
    } while (accepted < 2);
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
    for (int i = 0; i < ACCEPTORS; i++) {
        ck_assert_int_eq(ouro_task_join(tasks[i], NULL), 0);
        ck_assert(accepting[i].rc == 0 || accepting[i].rc == -ECANCELED);
        ck_assert_int_eq(ouro_stream_close(accepting[i].stream), 0);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_stream_close(clients[i]), 0);
    return 0;
}

OURO_TEST(several_acceptors_share_a_listener)
{
    in_place(IN_TASK, accept_from_many, NULL);
    in_place(IN_WORKER_TASK, accept_from_many, NULL);
}

static int leave_a_file(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_unix_listen_options options = OURO_UNIX_LISTEN_OPTIONS_INIT;
    struct ouro_socket_addr addr = unix_path(scratch, "name");
    struct ouro_unix_listener *listener = NULL;
    struct stat status;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, ouro_socket_addr_sockaddr(&addr), (socklen_t)addr.length), 0);
    ck_assert_int_eq(ouro_unix_listener_bind(&addr, NULL, &listener), -EADDRINUSE); /* alive */
    (void)close(fd);
    options.mode = 0600;
    options.backlog = 3;
    options.flags = OURO_UNIX_F_KEEP_STALE;
    ck_assert_int_eq(ouro_unix_listener_bind(&addr, &options, &listener), -EADDRINUSE);
    options.flags = 0;
    ck_assert_int_eq(ouro_unix_listener_bind(&addr, &options, &listener), 0);
    ck_assert_int_eq(lstat(ouro_test_scratch_path(scratch, "name"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
    ck_assert_int_ne(lstat(ouro_test_scratch_path(scratch, "name"), &status), 0);
    return 0;
}

OURO_TEST(a_listener_replaces_a_dead_file_and_removes_its_own)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(leave_a_file, &scratch);
    ouro_test_scratch_close(&scratch);
}
