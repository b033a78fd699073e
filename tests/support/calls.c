/* SPDX-License-Identifier: MIT */
/*
 * Watched system calls: a filter with SECCOMP_RET_USER_NOTIF, and the thread that answers.
 *
 * Not watched are the calls that cannot fail, those that release something (there is nothing to do
 * about their failure), and those without which libc or this file would not work.
 *
 * Owns:    the thread and the filter's descriptor, as long as the process lives.
 * Threads: the answering thread has no filter; the counters are atomic.
 * Always:  a call that is not to fail goes on in the kernel as it is.
 */
#include "support/calls.h"

#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/ouro_test.h"

static const int unwatched[] = {
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(futex),
    SCMP_SYS(close),
    SCMP_SYS(munmap),
    SCMP_SYS(write),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(sched_yield),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(brk), /* fails by another value than the others */
    SCMP_SYS(kill),
};

static int listener = -1; /* of the filter; set before @loaded is posted */
static sem_t loaded;
static uint32_t watched_thread; /* that installed the filter */
static struct seccomp_notif *call;
static struct seccomp_notif_resp *reply;
static atomic_uint counted;
static atomic_uint fails_at;
static atomic_int failure;
static int *_Atomic failed_call;
static atomic_bool counting;
static void (*_Atomic observer)(int system_call, const uint64_t arguments[6]);

/* A thread that the function under test has made may be in its loop already. */
static bool is_of_a_loop(const struct seccomp_notif *made)
{
    int number = made->data.nr;
    return made->pid != watched_thread &&
           (number == SCMP_SYS(io_uring_enter) || number == SCMP_SYS(epoll_wait) ||
            number == SCMP_SYS(epoll_pwait) || number == SCMP_SYS(epoll_pwait2));
}

static bool must_fail(const struct seccomp_notif *made)
{
    if (!atomic_load(&counting) || is_of_a_loop(made))
        return false;
    if (atomic_fetch_add(&counted, 1) + 1 != atomic_load(&fails_at))
        return false;
    int *failed = atomic_load(&failed_call);
    if (failed != NULL)
        *failed = made->data.nr;
    return true;
}

static void tell_observer(void)
{
    void (*observe)(int, const uint64_t[6]) = atomic_load(&observer);
    uint64_t arguments[6]; /* the kernel's type differs between machines */
    for (int i = 0; i < 6; i++)
        arguments[i] = call->data.args[i];
    if (observe != NULL)
        observe(call->data.nr, arguments);
}

/* Waits for the filter's descriptor, then answers as long as the process lives.  It uses no heap: a
 * watched thread may hold the heap's lock while its mmap(2) waits for an answer. */
static void *answer(void *arg)
{
    (void)arg;
    while (sem_wait(&loaded) != 0)
        continue;
    for (;;) {
        memset(call, 0, sizeof(*call));
        if (seccomp_notify_receive(listener, call) != 0)
            continue; /* the caller was interrupted, and calls again */
        tell_observer();
        *reply =
            (struct seccomp_notif_resp){.id = call->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        if (must_fail(call)) {
            reply->flags = 0;
            reply->error = -atomic_load(&failure);
        }
        (void)seccomp_notify_respond(listener, reply);
    }
    return NULL;
}

void ouro_test_calls_watch(void)
{
    pthread_t thread;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_NOTIFY);
    if (filter == NULL || seccomp_api_get() < 5)
        ouro_test_skip("no seccomp notifications here");
    for (size_t i = 0; i < sizeof(unwatched) / sizeof(unwatched[0]); i++)
        (void)seccomp_rule_add(filter, SCMP_ACT_ALLOW, unwatched[i], 0); /* not all exist here */
    /* Before the filter, so that it is not watched itself. */
    ck_assert_int_eq(sem_init(&loaded, 0, 0), 0);
    ck_assert_int_eq(seccomp_notify_alloc(&call, &reply), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, answer, NULL), 0);
    ck_assert_int_eq(pthread_detach(thread), 0);
    watched_thread = (uint32_t)gettid();
    int rc = seccomp_load(filter);
    if (rc < 0)
        ouro_test_skip("seccomp notifications cannot be had here: %s", strerror(-rc));
    listener = seccomp_notify_fd(filter);
    (void)sem_post(&loaded);
    seccomp_release(filter);
    ck_assert_int_ge(listener, 0);
}

void ouro_test_calls_fail(unsigned nth, int error, int *out_failed)
{
    if (out_failed != NULL)
        *out_failed = -1;
    atomic_store(&failed_call, out_failed);
    atomic_store(&failure, error);
    atomic_store(&fails_at, nth);
    atomic_store(&counted, 0);
    atomic_store(&counting, true);
}

unsigned ouro_test_calls_end(void)
{
    atomic_store(&counting, false);
    return atomic_load(&counted);
}

void ouro_test_calls_observe(void (*observe)(int system_call, const uint64_t arguments[6]))
{
    atomic_store(&observer, observe);
}

const char *ouro_test_calls_name(int system_call)
{
    static char name[64];
    char *found = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), system_call);
    (void)snprintf(name, sizeof(name), "%s", found != NULL ? found : "none");
    free(found);
    return name;
}
