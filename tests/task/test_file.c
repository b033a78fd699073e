/* SPDX-License-Identifier: MIT */
/*
 * Operations in slots: positioned file I/O and splice, from tasks and threads, as rows of a backend
 * and on the blocking pool: many in flight on one descriptor, cancelled, past their deadline, in
 * flight at a shutdown.
 */
#include "net/everywhere.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/group.h"
#include "ouro/time.h"
#include "support/scratch.h"
#include "support/sockets.h"
#include "task/file.h"

enum { BLOCKS = 300, BLOCK = 64 };

static struct ouro__context *here(void)
{
    return ouro__context_current();
}

static int open_file(struct ouro_test_scratch *scratch)
{
    int fd =
        open(ouro_test_scratch_path(scratch, "file"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int read_and_write(void *arg)
{
    char got[16] = "";
    int fd = open_file(arg);
    ck_assert_int_eq(ouro__file_read_at(here(), fd, got, sizeof(got), 0), 0);
    ck_assert_int_eq(ouro__file_write_at(here(), fd, "hello", 5, 3), 5);
    ck_assert_int_eq(ouro__file_write_at(here(), fd, "HEL", 3, 3), 3);
    ck_assert_int_eq(ouro__file_read_at(here(), fd, got, sizeof(got), 0), 8);
    ck_assert_int_eq(memcmp(got, "\0\0\0HELlo", 8), 0);
    ck_assert_int_eq(ouro__file_read_at(here(), fd, got, 2, 6), 2);
    ck_assert_int_eq(memcmp(got, "lo", 2), 0);
    ck_assert_int_eq(ouro__file_read_at(here(), fd, got, sizeof(got), 100), 0);
    ck_assert_int_eq((int)lseek(fd, 0, SEEK_CUR), 0); /* the descriptor's own offset stays */
    ck_assert_int_eq(ouro__file_read_at(here(), -1, got, 1, 0), -EBADF);
    (void)close(fd);
    fd = open(ouro_test_scratch_path(arg, "file"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(ouro__file_write_at(here(), fd, "x", 1, 0), -EBADF);
    (void)close(fd);
    return 0;
}

OURO_TEST(files_are_read_and_written_at_offsets)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(read_and_write, &scratch);
    ouro_test_scratch_close(&scratch);
}

struct block {
    int fd;
    uint64_t index;
    char bytes[BLOCK];
};

static int write_block(void *arg)
{
    struct block *block = arg;
    memset(block->bytes, (int)(block->index % 251), BLOCK);
    return ouro__file_write_at(here(), block->fd, block->bytes, BLOCK, block->index * BLOCK) ==
                   BLOCK
               ? 0
               : -EIO;
}

static int read_block(void *arg)
{
    struct block *block = arg;
    memset(block->bytes, 0xff, BLOCK);
    int n = ouro__file_read_at(here(), block->fd, block->bytes, BLOCK, block->index * BLOCK);
    for (int i = 0; i < BLOCK; i++) {
        if (n != BLOCK || block->bytes[i] != (char)(block->index % 251))
            return -EIO;
    }
    return 0;
}

/* One task a block, all on one descriptor. */
static int many_blocks(void *arg)
{
    static struct block blocks[BLOCKS];
    ouro_task_function *const steps[] = {write_block, read_block};
    int fd = open_file(arg);
    for (int step = 0; step < 2; step++) {
        struct ouro_group group;
        ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
        for (uint64_t i = 0; i < BLOCKS; i++) {
            blocks[i].fd = fd;
            blocks[i].index = i;
            ck_assert_int_eq(ouro_group_spawn(&group, NULL, steps[step], &blocks[i]), 0);
        }
        ck_assert_int_eq(ouro_group_end(&group), 0);
    }
    (void)close(fd);
    return 0;
}

OURO_TEST(many_are_in_flight_on_one_file)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(many_blocks, &scratch);
    ouro_test_scratch_close(&scratch);
}

static int splice_through(void *arg)
{
    char got[16] = "";
    int in[2], out[2], sockets[2];
    int fd = open_file(arg);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets),
                     0);
    ck_assert_int_eq(write(in[1], "abcdef", 6), 6);
    ck_assert_int_eq(ouro__splice(here(), in[0], -1, out[1], -1, 100), 6); /* pipe to pipe */
    ck_assert_int_eq(ouro__splice(here(), out[0], -1, fd, 2, 6), 6);       /* to a file's offset */
    ck_assert_int_eq(ouro__splice(here(), fd, 4, in[1], -1, 3), 3);        /* from one */
    ck_assert_int_eq(ouro__splice(here(), in[0], -1, sockets[0], -1, 3), 3); /* to a socket */
    ck_assert_int_eq(ouro__splice(here(), sockets[1], -1, out[1], -1, 9), 3);
    ck_assert_int_eq(read(out[0], got, sizeof(got)), 3);
    ck_assert_int_eq(memcmp(got, "cde", 3), 0);
    ck_assert_int_eq(ouro__splice(here(), fd, 0, sockets[0], -1, 1), -EINVAL); /* no pipe */
    (void)close(in[1]);
    ck_assert_int_eq(ouro__splice(here(), in[0], -1, out[1], -1, 1), 0); /* the end */
    for (int i = 0; i < 2; i++)
        (void)close(sockets[i]);
    (void)close(in[0]);
    (void)close(out[0]);
    (void)close(out[1]);
    (void)close(fd);
    return 0;
}

OURO_TEST(splice_moves_between_pipes_files_and_sockets)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(splice_through, &scratch);
    ouro_test_scratch_close(&scratch);
}

static void fill(int fd)
{
    static const char data[4096];
    int flags = fcntl(fd, F_GETFL);
    ck_assert_int_eq(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, data, sizeof(data)) > 0)
        continue;
    ck_assert_int_eq(fcntl(fd, F_SETFL, flags), 0);
}

static void *write_later(void *arg)
{
    (void)usleep(1000); /* the splice waits by then, most times; either way it moves the byte */
    ck_assert_int_eq(write(*(int *)arg, "x", 1), 1);
    return NULL;
}

static void *drain_later(void *arg)
{
    static char data[1 << 17];
    (void)usleep(1000);
    ck_assert_int_gt(read(*(int *)arg, data, sizeof(data)), 0);
    return NULL;
}

/* Blocking pipes: neither an empty one nor a full one may stop anybody but the caller. */
static int splice_waits(void *arg)
{
    struct ouro_deadline scope;
    pthread_t thread;
    int in[2], out[2];
    (void)arg;
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro__splice(here(), in[0], -1, out[1], -1, 10), -ETIMEDOUT);
        ouro_deadline_end(&scope);
        ck_assert_int_eq(pthread_create(&thread, NULL, write_later, &in[1]), 0);
        ck_assert_int_eq(ouro__splice(here(), in[0], -1, out[1], -1, 10), 1);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    fill(out[1]);
    ck_assert_int_eq(write(in[1], "x", 1), 1);
    ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro__splice(here(), in[0], -1, out[1], -1, 1), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(pthread_create(&thread, NULL, drain_later, &out[0]), 0);
    ck_assert_int_eq(ouro__splice(here(), in[0], -1, out[1], -1, 1), 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        (void)close(in[i]);
        (void)close(out[i]);
    }
    return 0;
}

OURO_TEST(splice_waits_and_keeps_its_deadline)
{
    everywhere(splice_waits, NULL);
}

struct stuck {
    int in[2];
    int out[2];
    _Atomic bool begun;
    int rc;
};

static int splice_for_ever(void *arg)
{
    struct stuck *stuck = arg;
    atomic_store(&stuck->begun, true);
    stuck->rc = ouro__splice(here(), stuck->in[0], -1, stuck->out[1], -1, 1);
    return stuck->rc;
}

static void stuck_open(struct stuck *stuck)
{
    *stuck = (struct stuck){.rc = 1};
    ck_assert_int_eq(pipe2(stuck->in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(stuck->out, O_CLOEXEC), 0);
}

static void stuck_close(struct stuck *stuck)
{
    for (int i = 0; i < 2; i++) {
        (void)close(stuck->in[i]);
        (void)close(stuck->out[i]);
    }
}

static int cancel_one(void *arg)
{
    struct stuck stuck;
    struct ouro_task *task = NULL;
    int result = 0;
    (void)arg;
    for (int round = 0; round < 5; round++) {
        stuck_open(&stuck);
        ck_assert_int_eq(ouro_task_spawn(splice_for_ever, &stuck, &task), 0);
        while (!atomic_load(&stuck.begun))
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        if (round % 2 == 0)
            ck_assert_int_eq(ouro_sleep(2 * OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        stuck_close(&stuck);
    }
    return 0;
}

OURO_TEST(a_cancelled_splice_ends)
{
    everywhere(cancel_one, NULL);
}

OURO_TEST(a_shutdown_ends_what_is_in_flight)
{
    for (int place = 0; place < PLACES; place++) {
        struct stuck stuck;
        stuck_open(&stuck);
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, splice_for_ever, &stuck, NULL), 0);
        int64_t begun_ns = ouro_test_now_ns();
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_TEST_SECOND), 0);
        ck_assert_int_lt(ouro_test_now_ns() - begun_ns, 10 * OURO_TEST_SECOND);
        ck_assert(stuck.rc == -OURO_ESHUTDOWN || stuck.rc == 1); /* or it was never begun */
        ouro_runtime_free(runtime);
        check_nothing_left(handle);
        ouro_handle_unref(handle);
        stuck_close(&stuck);
    }
}

/* A runtime without I/O makes the system calls on its blocking pool. */
OURO_TEST_UNIT(without_io_files_work_on_the_pool)
{
    struct ouro_test_scratch scratch;
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    ouro_task_function *const bodies[] = {read_and_write, many_blocks, splice_waits, cancel_one};
    ouro_test_scratch_open(&scratch);
    config.driver = OURO_DRIVER_NONE;
    for (size_t i = 0; i < OURO__ARRAY_LEN(bodies); i++) {
        int result = -1;
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, bodies[i], &scratch, &result), 0);
        ck_assert_int_eq(result, 0);
        ouro_runtime_free(runtime);
    }
    ouro_test_scratch_close(&scratch);
}
