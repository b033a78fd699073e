/* SPDX-License-Identifier: MIT */
/*
 * What the tests of loans share: streams of every kind with a plain descriptor as their peer, pools
 * of a chosen size, and the check that every buffer has come home.
 */
#ifndef OURO_TEST_LOANS_H
#define OURO_TEST_LOANS_H

#include "net/everywhere.h"
#include "net/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/loan.h"
#include "ouro/stream.h"
#include "ouro/time.h"
#include "registry/loan_pool.h"
#include "stream/stream.h"
#include "task/handle.h"

static const enum ouro_stream_kind kinds[] = {OURO_STREAM_TCP, OURO_STREAM_UNIX, OURO_STREAM_PIPE};
enum { KINDS = 3 };

/* A stream to read from; what is written to pair.peer arrives in it. */
static inline struct pair open_kind(enum ouro_stream_kind kind)
{
    struct pair pair;
    int fds[2];
    if (kind == OURO_STREAM_TCP)
        return connected();
    if (kind == OURO_STREAM_UNIX)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    else
        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(ouro_stream_from_fd(fds[0], &pair.stream), 0);
    ck_assert_int_eq(ouro_stream_kind(pair.stream), kind);
    pair.peer = fds[1];
    return pair;
}

static inline void put_text(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Any amount, into a pipe too. */
static inline void put_bytes(int fd, const char *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        ck_assert_msg(n > 0, "write: %m");
        done += (size_t)n;
    }
}

/* Reads until @text has come on loan, and nothing else. */
static inline void expect_text(struct ouro_stream *stream, const char *text)
{
    size_t done = 0;
    while (done < strlen(text)) {
        struct ouro_loan loan;
        ssize_t n = ouro_stream_read_loan(stream, &loan);
        ck_assert_msg(n > 0, "read_loan: %zd", n);
        ck_assert_uint_eq(loan.size, (size_t)n);
        ck_assert_uint_le(done + loan.size, strlen(text));
        ck_assert_int_eq(memcmp(loan.data, text + done, loan.size), 0);
        done += loan.size;
        ouro_loan_release(&loan);
        ck_assert_uint_eq(loan.size, 0);
        ck_assert_ptr_null(loan.data);
    }
}

static inline struct ouro_runtime_config pool_of(uint32_t buffers, uint32_t bytes)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.loan_buffers = buffers;
    config.loan_buffer_bytes = bytes;
    return config;
}

/* Runs @body with such pools, in a place.  After the runtime every buffer has come home: its pool
 * is not there any more (registry/driver.c keeps it while one is out). */
static inline void in_place_with_pool(enum place place, const struct ouro_runtime_config *config,
                                      ouro_task_function *body, void *arg)
{
    struct ouro_runtime *runtime = open_place_with(place, config);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    run_in_place(place, runtime, body, arg);
    ouro_runtime_free(runtime);
    check_nothing_left(handle);
    for (uint32_t i = 0; i < handle->worker_count; i++)
        ck_assert_ptr_null(ouro__load(&handle->worker[i].io.handle.loans, memory_order_acquire));
    ouro_handle_unref(handle);
}

static inline void everywhere_with_pool(const struct ouro_runtime_config *config,
                                        ouro_task_function *body, void *arg)
{
    for (int place = 0; place < PLACES; place++)
        in_place_with_pool((enum place)place, config, body, arg);
}

#endif
