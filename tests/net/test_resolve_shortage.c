/* SPDX-License-Identifier: MIT */
/*
 * Look-ups of a process that has no descriptors left, or too few: the answer is never that the name
 * is unknown, and with descriptors again it is right again.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <netdb.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/resolve.h"
#include "ouro/addr.h"
#include "ouro/error.h"
#include "support/child.h"
#include "support/sockets.h"

static int resolve(const char *text)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    int rc = ouro_resolve(OURO_ADDRS(text), &list, &count);
    ouro_addr_list_free(list);
    return rc;
}

static struct ouro_runtime *open_runtime(void)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    config.driver = ouro_test_driver();
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    return runtime;
}

enum { FILES_MAX = 200 };

/* Descriptors until there are no more. */
static int use_up_descriptors(int fds[FILES_MAX])
{
    int count = 0;
    while (count < FILES_MAX && (fds[count] = dup(0)) >= 0)
        count++;
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_ge(count, 20);
    return count;
}

/* A name of /etc/hosts, from a process whose first look-up comes without a descriptor. */
static int resolve_without_descriptors(void *arg)
{
    int fds[FILES_MAX];
    int rc = 0;
    (void)arg;
    for (int round = 0; round < 2; round++) {
        int count = use_up_descriptors(fds);
        for (int unused = 0; unused < 20; unused++) {
            rc = resolve("localhost:80");
            ck_assert_msg(rc == 0 || rc == -EMFILE, "with %d left: %s", unused, ouro_err_name(rc));
            ck_assert_int_eq(rc, unused < 8 ? -EMFILE : 0); /* it is asked only with enough */
            (void)close(fds[--count]);
        }
        while (count > 0)
            (void)close(fds[--count]);
        rc = resolve("localhost:80");
        ck_assert_int_eq(rc, 0);
    }
    return 0;
}

static int in_a_small_process(void *arg)
{
    const struct rlimit limit = {FILES_MAX, FILES_MAX};
    int result = -1;
    (void)arg;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct ouro_runtime *runtime = open_runtime();
    ck_assert_int_eq(ouro_runtime_block_on(runtime, resolve_without_descriptors, NULL, &result), 0);
    ouro_runtime_free(runtime);
    return result;
}

OURO_TEST(without_descriptors_a_name_is_not_unknown)
{
    ouro_test_need_localhost();
    ouro_test_child_must_pass(in_a_small_process, NULL);
}

static struct {
    int fds[FILES_MAX];
    int count;
} held;

/* They run out while the resolver is at work, which then knows no such name. */
static int use_up_and_fail(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **out_answer)
{
    int *fds = held.fds;
    (void)name;
    (void)service;
    (void)hints;
    (void)out_answer;
    held.count = use_up_descriptors(fds);
    return EAI_NONAME;
}

static int resolve_while_they_run_out(void *arg)
{
    const struct rlimit limit = {FILES_MAX, FILES_MAX};
    (void)arg;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ouro__resolve_use(use_up_and_fail);
    int rc = resolve("name.example:1");
    ck_assert_int_eq(rc, -EMFILE);
    while (held.count > 0)
        (void)close(held.fds[--held.count]);
    ouro__resolve_use(NULL);
    return 0;
}

static int with_a_limit(void *arg)
{
    int result = -1;
    (void)arg;
    struct ouro_runtime *runtime = open_runtime();
    ck_assert_int_eq(ouro_runtime_block_on(runtime, resolve_while_they_run_out, NULL, &result), 0);
    ouro_runtime_free(runtime);
    return result;
}

OURO_TEST(an_answer_that_came_without_descriptors_is_not_believed)
{
    ouro_test_child_must_pass(with_a_limit, NULL);
}
