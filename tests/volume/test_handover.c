/* SPDX-License-Identifier: MIT */
/*
 * A connection that is handed to another worker before its first use works there: its descriptor is
 * registered by who uses it first.  On io_uring most of these connections come from a multishot
 * accept, because the acceptor comes back at once (src/registry/accept.c).
 */
#include "net/listening.h"
#include "volume.h"

#include <pthread.h>
#include <stdatomic.h>

enum { AT_ONCE = 64, CONNECTIONS_PART = 640, CONNECTIONS_FULL = 64000 };

static _Atomic unsigned elsewhere; /* served on another thread than the acceptor's */

struct handed {
    struct ouro_stream *stream;
    struct ouro_handle *handle;
    pthread_t acceptor;
};

/* Each connection brings a number of its own, and gets it back. */
static int use_it(void *arg)
{
    struct handed *handed = arg;
    uint64_t number = 0;
    if (!pthread_equal(handed->acceptor, pthread_self()))
        elsewhere++;
    ck_assert_int_eq(ouro_stream_read(handed->stream, &number, sizeof(number)), sizeof(number));
    ck_assert_int_eq(ouro_stream_write_all(handed->stream, &number, sizeof(number), NULL), 0);
    ck_assert_int_eq(ouro_stream_close(handed->stream), 0);
    return 0;
}

static void *use_it_on_a_thread(void *arg)
{
    struct handed *handed = arg;
    ck_assert_int_eq(ouro_enter(handed->handle), 0);
    (void)use_it(handed);
    ouro_leave();
    return NULL;
}

static void accept_all(struct ouro_tcp_listener *listener, struct handed *handed)
{
    for (unsigned i = 0; i < AT_ONCE; i++) {
        handed[i].acceptor = pthread_self();
        handed[i].handle = ouro_handle_current();
        ck_assert_int_eq(ouro_tcp_listener_accept(listener, &handed[i].stream, NULL), 0);
    }
}

static void answer_all(struct handed *handed, bool by_threads)
{
    struct ouro_task *tasks[AT_ONCE];
    pthread_t thread;
    int result = -1;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        if (by_threads && i % 8 == 0) {
            ck_assert_int_eq(pthread_create(&thread, NULL, use_it_on_a_thread, &handed[i]), 0);
            ck_assert_int_eq(pthread_join(thread, NULL), 0);
            tasks[i] = NULL;
        } else {
            ck_assert_int_eq(ouro_task_spawn(use_it, &handed[i], &tasks[i]), 0);
        }
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        if (tasks[i] != NULL) {
            ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
            ck_assert_int_eq(result, 0);
        }
        ouro_handle_unref(handed[i].handle);
    }
}

static int hand_over(void *arg)
{
    const bool by_threads = *(const bool *)arg;
    unsigned rounds = volume_of(CONNECTIONS_PART, CONNECTIONS_FULL) / AT_ONCE;
    struct handed handed[AT_ONCE];
    int peers[AT_ONCE];
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    for (uint64_t round = 0; round <= rounds; round++) {
        for (uint64_t i = 0; i < AT_ONCE; i++) {
            uint64_t number = round << 32 | i;
            peers[i] = ouro_test_connect(AF_INET, port);
            ouro_test_write_exactly(peers[i], &number, sizeof(number));
        }
        accept_all(listener, handed);
        answer_all(handed, by_threads);
        for (uint64_t i = 0; i < AT_ONCE; i++) {
            uint64_t back = 0;
            ouro_test_read_exactly(peers[i], &back, sizeof(back));
            ck_assert_uint_eq(back, round << 32 | i);
            ouro_test_reset(peers[i]);
        }
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(a_connection_works_on_a_worker_that_did_not_accept_it, .timeout_s = 300)
{
    bool by_threads = false;
    elsewhere = 0;
    in_place(IN_WORKER_TASK, hand_over, &by_threads);
    ck_assert_uint_gt(elsewhere, AT_ONCE / 4);
    elsewhere = 0;
    in_place(IN_THREAD, hand_over, &by_threads);
    ck_assert_uint_gt(elsewhere, AT_ONCE);
}

OURO_TEST(a_connection_works_on_a_thread_that_did_not_accept_it, .timeout_s = 300)
{
    bool by_threads = true;
    elsewhere = 0;
    in_place(IN_THREAD, hand_over, &by_threads);
    in_place(IN_DRIVER_THREAD, hand_over, &by_threads);
    ck_assert_uint_gt(elsewhere, AT_ONCE);
}
