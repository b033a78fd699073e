/* SPDX-License-Identifier: MIT */
/*
 * Cases that must not pass, one for each way the harness can tell.  Not a test file by name:
 * tests/harness/outcomes.sh runs them and looks at exit status and message.
 *
 * Owns:    what it leaks, on purpose.
 * Threads: one that fails, one that stays.
 * Always:  every case but the first two ends badly.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/ouro_test.h"

static int descriptor;

OURO_TEST_UNIT(passes)
{
    ck_assert_int_eq(1 + 1, 2);
}

OURO_TEST_UNIT(may_leak, .may_leak = "it is asked to")
{
    descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(descriptor, 0);
}

OURO_TEST_UNIT(leaks_a_descriptor)
{
    descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(descriptor, 0);
}

OURO_TEST_UNIT(leaks_a_block)
{
    static void *block;
    block = ouro__alloc(12);
    ck_assert_ptr_nonnull(block);
}

OURO_TEST_UNIT(leaks_a_mapping)
{
    static void *mapping;
    mapping = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(mapping, MAP_FAILED);
}

static void *stay(void *arg)
{
    (void)pause();
    return arg;
}

OURO_TEST_UNIT(leaks_a_thread)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, stay, NULL), 0);
}

static void *fail_there(void *arg)
{
    ck_assert_msg(arg != NULL, "thread %d", 7);
    return NULL;
}

OURO_TEST_UNIT(fails_in_a_thread)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_there, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

OURO_TEST_UNIT(hangs, .timeout_s = 1)
{
    ck_assert(descriptor == 0);
    (void)pause();
}

OURO_TEST_UNIT(crashes)
{
    (void)raise(SIGABRT); /* not SIGSEGV: AddressSanitizer turns that into an exit status */
}

OURO_TEST_UNIT(skips)
{
    ouro_test_skip("because of %d", 3);
}
