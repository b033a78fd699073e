/* SPDX-License-Identifier: MIT */
/*
 * Look-ups, with the machine's resolver for what /etc/hosts knows, and with one of the test's own
 * that answers what it is told, fails, or hangs until it is let go.
 */
#include "support/ouro_test.h"
#include "support/sockets.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "blocking/pool.h"
#include "net/resolve.h"
#include "ouro/addr.h"
#include "ouro/error.h"
#include "ouro/time.h"
#include "task/handle.h"

/* The resolver of the test: how it answers, and what it was asked. */
static struct {
    const char *const *literals; /* the answer, up to NULL */
    int code;                    /* or this EAI_ code, */
    int system_error;            /* with this errno */
    bool hangs;                  /* until let_go */
    sem_t asked;
    sem_t let_go;
    atomic_int calls;
    pthread_mutex_t lock; /* guards what was asked last: */
    int family;
    char name[64];
} fake;

static struct addrinfo *numeric(const char *literal)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *entry = NULL;
    ck_assert_int_eq(getaddrinfo(literal, NULL, &hints, &entry), 0);
    return entry;
}

static int fake_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                            struct addrinfo **out_answer)
{
    struct addrinfo **end = out_answer;

    atomic_fetch_add(&fake.calls, 1);
    ck_assert_ptr_null(service);
    ck_assert_int_eq(hints->ai_socktype, SOCK_STREAM);
    (void)pthread_mutex_lock(&fake.lock);
    (void)snprintf(fake.name, sizeof(fake.name), "%s", name);
    fake.family = hints->ai_family;
    (void)pthread_mutex_unlock(&fake.lock);
    (void)sem_post(&fake.asked);
    while (fake.hangs && sem_wait(&fake.let_go) < 0)
        ck_assert_int_eq(errno, EINTR);
    errno = fake.system_error;
    if (fake.code != 0)
        return fake.code;
    *out_answer = NULL;
    for (const char *const *literal = fake.literals; *literal != NULL; literal++) {
        *end = numeric(*literal);
        end = &(*end)->ai_next;
    }
    return 0;
}

static void use_fake(const char *const *literals, int code, bool hangs)
{
    memset(&fake, 0, sizeof(fake));
    fake.literals = literals;
    fake.code = code;
    fake.hangs = hangs;
    (void)pthread_mutex_init(&fake.lock, NULL);
    (void)sem_init(&fake.asked, 0, 0);
    (void)sem_init(&fake.let_go, 0, 0);
    ouro__resolve_use(fake_getaddrinfo);
}

static struct ouro_runtime *open_runtime(uint32_t blocking_threads_max)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    config.driver = ouro_test_driver();
    config.blocking_threads_max = blocking_threads_max;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    return runtime;
}

/* Runs @body as a task of a runtime of this case's driver. */
static void run(ouro_task_function *body)
{
    struct ouro_runtime *runtime = open_runtime(0);
    int result = -1;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, body, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
    ouro__resolve_use(NULL);
}

/* The addresses of @text separated by blanks, or "" after the code in *out_rc. */
static const char *resolved(const char *text, uint32_t flags, int *out_rc)
{
    static char all[1024];
    const struct ouro_to_socket_addrs from = {
        .kind = OURO_ADDRS_TEXT, .text = text, .flags = flags};
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    size_t at = 0;

    all[0] = '\0';
    *out_rc = ouro_resolve(&from, &list, &count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            all[at++] = ' ';
        (void)ouro_socket_addr_format(&list[i], all + at, sizeof(all) - at);
        at += strlen(all + at);
    }
    ouro_addr_list_free(list);
    return all;
}

static uint64_t pool_threads_started(void)
{
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro__blocking_stats stats;
    ouro__blocking_pool_stats(ouro__handle_blocking_pool(handle), &stats);
    ouro_handle_unref(handle);
    return stats.started;
}

static int literals_body(void *arg)
{
    int rc = -1;
    (void)arg;
    ck_assert_str_eq(resolved("127.0.0.1:6142", 0, &rc), "127.0.0.1:6142");
    ck_assert_str_eq(resolved("[::1]:80", 0, &rc), "[::1]:80");
    ck_assert_str_eq(resolved("unix:/x", 0, &rc), "unix:/x");
    ck_assert_int_eq(rc, 0);
    (void)resolved("127.1:80", 0, &rc);
    ck_assert_int_eq(rc, -OURO_EADDRSYNTAX);
    ck_assert_int_eq(atomic_load(&fake.calls), 0);
    ck_assert_uint_eq(pool_threads_started(), 0);
    return 0;
}

OURO_TEST(literals_touch_neither_resolver_nor_pool)
{
    use_fake(NULL, EAI_FAIL, false);
    run(literals_body);
}

static int localhost_body(void *arg)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    (void)arg;
    ck_assert_int_eq(ouro_resolve(OURO_ADDRS("localhost:6142"), &list, &count), 0);
    ck_assert_uint_ge(count, 1);
    for (size_t i = 0; i < count; i++) {
        char text[OURO_ADDR_TEXT_MAX];
        (void)ouro_socket_addr_format(&list[i], text, sizeof(text));
        ck_assert_msg(strcmp(text, "127.0.0.1:6142") == 0 || strcmp(text, "[::1]:6142") == 0, "%s",
                      text);
    }
    ouro_addr_list_free(list);
    ck_assert_int_eq(ouro_resolve(OURO_HOST_PORT("localhost", 7), &list, &count), 0);
    ck_assert_uint_eq(ouro_socket_addr_port(&list[0]), 7);
    ouro_addr_list_free(list);
    /* A thread may not have noticed that it is free when the second look-up comes. */
    ck_assert_uint_ge(pool_threads_started(), 1);
    ck_assert_uint_le(pool_threads_started(), 2);
    return 0;
}

OURO_TEST(names_of_the_hosts_file_resolve)
{
    ouro_test_need_localhost();
    run(localhost_body);
}

static int order_body(void *arg)
{
    int rc = -1;
    (void)arg;
    ck_assert_str_eq(resolved("name.example:443", 0, &rc),
                     "[2001:db8::1]:443 192.0.2.1:443 [2001:db8::2]:443");
    ck_assert_str_eq(fake.name, "name.example");
    ck_assert_int_eq(fake.family, AF_UNSPEC);
    (void)resolved("name.example:443", OURO_ADDRS_F_IPV4, &rc);
    ck_assert_int_eq(fake.family, AF_INET);
    (void)resolved("name.example:443", OURO_ADDRS_F_IPV6, &rc);
    ck_assert_int_eq(fake.family, AF_INET6);
    return 0;
}

OURO_TEST(answers_keep_their_order_and_lose_doubles)
{
    static const char *const literals[] = {"2001:db8::1", "192.0.2.1",   "2001:db8::1",
                                           "192.0.2.1",   "2001:db8::2", NULL};
    use_fake(literals, 0, false);
    run(order_body);
}

static int long_answer_body(void *arg)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    (void)arg;
    ck_assert_int_eq(ouro_resolve(OURO_ADDRS("name.example:1"), &list, &count), 0);
    ck_assert_uint_eq(count, 12);
    ouro_addr_list_free(list);
    return 0;
}

OURO_TEST(long_answers_are_complete)
{
    static const char *const literals[] = {"192.0.2.1", "192.0.2.2",  "192.0.2.3",  "192.0.2.4",
                                           "192.0.2.5", "192.0.2.6",  "192.0.2.7",  "192.0.2.8",
                                           "192.0.2.9", "192.0.2.10", "192.0.2.11", "192.0.2.12",
                                           NULL};
    use_fake(literals, 0, false);
    run(long_answer_body);
}

static int failures_body(void *arg)
{
    static const struct {
        int code;
        int system_error;
        int expected;
    } rows[] = {
        {EAI_NONAME, 0, -(OURO_ERESOLVE - EAI_NONAME)},
        {EAI_NODATA, 0, -(OURO_ERESOLVE - EAI_NODATA)},
        {EAI_AGAIN, 0, -(OURO_ERESOLVE - EAI_AGAIN)},
        {EAI_MEMORY, 0, -ENOMEM},
        {EAI_SYSTEM, EMFILE, -EMFILE},
        {EAI_SYSTEM, EACCES, -EACCES},
        {EAI_SYSTEM, ECANCELED, -(OURO_ERESOLVE - EAI_SYSTEM)}, /* nobody cancelled */
        {EAI_SYSTEM, ETIMEDOUT, -(OURO_ERESOLVE - EAI_SYSTEM)}, /* no deadline of ours */
        {EAI_SYSTEM, 0, -(OURO_ERESOLVE - EAI_SYSTEM)},
    };
    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ouro_socket_addr *list = (void *)&rows;
        size_t count = 77;
        fake.code = rows[i].code;
        fake.system_error = rows[i].system_error;
        ck_assert_int_eq(ouro_resolve(OURO_ADDRS("name.example:1"), &list, &count),
                         rows[i].expected);
        ck_assert_uint_eq(count, 77); /* untouched */
        ck_assert_ptr_eq(list, (void *)&rows);
    }
    return 0;
}

OURO_TEST(failures_keep_their_code)
{
    use_fake(NULL, EAI_NONAME, false);
    run(failures_body);
}

static int empty_body(void *arg)
{
    int rc = 0;
    (void)arg;
    (void)resolved("name.example:1", 0, &rc);
    ck_assert_int_eq(rc, -OURO_ENOADDRESS);
    return 0;
}

OURO_TEST(empty_answer_is_no_address)
{
    static const char *const literals[] = {NULL};
    use_fake(literals, 0, false);
    run(empty_body);
}

static int misuse_body(void *arg)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    (void)arg;
    ck_assert_int_eq(ouro_resolve(NULL, &list, &count), -EINVAL);
    ck_assert_int_eq(ouro_resolve(OURO_ADDRS("1.2.3.4:5"), NULL, &count), -EINVAL);
    ck_assert_int_eq(ouro_resolve(OURO_ADDRS("1.2.3.4:5"), &list, NULL), -EINVAL);
    ck_assert_int_eq(ouro_resolve(OURO_ADDR_LIST(NULL, 0), &list, &count), -OURO_ENOADDRESS);
    return 0;
}

OURO_TEST(misuse_is_an_argument_error)
{
    run(misuse_body);
}

OURO_TEST_UNIT(outside_a_runtime_only_literals_resolve)
{
    int rc = -1;
    ck_assert_str_eq(resolved("127.0.0.1:1", 0, &rc), "127.0.0.1:1");
    ck_assert_int_eq(rc, 0);
    (void)resolved("localhost:1", 0, &rc);
    ck_assert_int_eq(rc, -OURO_ENORUNTIME);
    ouro_addr_list_free(NULL);
}

static int deadline_body(void *arg)
{
    struct ouro_deadline scope;
    int rc = 0;
    (void)arg;
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_deadline_begin(&scope, 30 * OURO_MILLISECOND), 0);
    (void)resolved("name.example:1", 0, &rc);
    ouro_deadline_end(&scope);
    int64_t took_ns = ouro_now_ns() - before_ns;
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_int_ge(took_ns, 30 * OURO_MILLISECOND);
    ck_assert_int_lt(took_ns, 5 * OURO_SECOND);
    ck_assert_int_eq(atomic_load(&fake.calls), 1);
    (void)sem_post(&fake.let_go);
    return 0;
}

OURO_TEST(deadline_ends_the_wait_while_the_resolver_hangs)
{
    static const char *const literals[] = {"192.0.2.1", NULL};
    use_fake(literals, 0, true); /* its answer comes late, and is thrown away */
    run(deadline_body);
}

static int resolve_task(void *arg)
{
    int rc = 0;
    (void)resolved("name.example:1", 0, &rc);
    if (arg != NULL)
        *(int *)arg = rc;
    return rc;
}

/* From a task: lets the others run until the resolver has been asked. */
static void yield_until_asked(void)
{
    while (sem_trywait(&fake.asked) < 0)
        ck_assert_int_eq(ouro_yield(), 0);
}

static int cancel_body(void *arg)
{
    struct ouro_task *task = NULL;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(resolve_task, NULL, &task), 0);
    yield_until_asked();
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    (void)sem_post(&fake.let_go);
    return 0;
}

OURO_TEST(cancel_ends_the_wait_while_the_resolver_hangs)
{
    use_fake(NULL, EAI_AGAIN, true);
    run(cancel_body);
}

static int queued_body(void *arg)
{
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    int result = 0;
    int rc = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(resolve_task, NULL, &task), 0);
    yield_until_asked();
    ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
    (void)resolved("other.example:1", 0, &rc); /* no thread is left for it */
    ouro_deadline_end(&scope);
    ck_assert_int_eq(rc, -ETIMEDOUT);
    (void)sem_post(&fake.let_go);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -(OURO_ERESOLVE - EAI_AGAIN));
    ck_assert_int_eq(atomic_load(&fake.calls), 1); /* the other name was never asked for */
    return 0;
}

OURO_TEST(lookup_past_its_deadline_in_the_queue_is_never_made)
{
    int result = -1;
    use_fake(NULL, EAI_AGAIN, true);
    struct ouro_runtime *runtime = open_runtime(1);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, queued_body, NULL, &result), 0);
    ouro_runtime_free(runtime);
    ouro__resolve_use(NULL);
}

static int leave_lookup_body(void *arg)
{
    ck_assert_int_eq(ouro_task_spawn(resolve_task, arg, NULL), 0);
    yield_until_asked();
    return 0;
}

OURO_TEST(shutdown_does_not_wait_for_the_resolver)
{
    int lookup = 0;
    use_fake(NULL, EAI_AGAIN, true);
    struct ouro_runtime *runtime = open_runtime(0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, leave_lookup_body, &lookup, NULL), 0);
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 60 * OURO_SECOND), 0);
    ck_assert_int_eq(lookup, -OURO_ESHUTDOWN);
    ouro_runtime_free(runtime);
    ck_assert_int_lt(ouro_now_ns() - before_ns, 5 * OURO_SECOND);
    (void)sem_post(&fake.let_go); /* the thread comes back to nothing, and ends */
}

static uint32_t lookups_queued(struct ouro__blocking_pool *pool)
{
    struct ouro__blocking_stats stats;
    ouro__blocking_pool_stats(pool, &stats);
    return stats.queued;
}

/* The pool ends before the runtime does, with one look-up under way and one in its queue. */
static int end_the_pool_body(void *arg)
{
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro__blocking_pool *pool = ouro__handle_blocking_pool(handle);
    struct ouro_task *asked = NULL;
    struct ouro_task *queued = NULL;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(resolve_task, NULL, &asked), 0);
    yield_until_asked();
    ck_assert_int_eq(ouro_task_spawn(resolve_task, NULL, &queued), 0);
    while (lookups_queued(pool) == 0)
        ck_assert_int_eq(ouro_yield(), 0);
    ck_assert_int_eq(ouro__blocking_pool_shutdown(pool, 0), 0);
    ck_assert_int_eq(ouro_task_join(queued, &result), 0);
    ck_assert_int_eq(result, -OURO_ESHUTDOWN);
    ck_assert_int_eq(atomic_load(&fake.calls), 1);
    (void)sem_post(&fake.let_go);
    ck_assert_int_eq(ouro_task_join(asked, &result), 0);
    ck_assert_int_eq(result, -(OURO_ERESOLVE - EAI_AGAIN));
    ouro_handle_unref(handle);
    return 0;
}

OURO_TEST(a_pool_that_ends_refuses_the_lookups_in_its_queue)
{
    int result = -1;
    use_fake(NULL, EAI_AGAIN, true);
    struct ouro_runtime *runtime = open_runtime(1);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, end_the_pool_body, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
    ouro__resolve_use(NULL);
}

enum { MANY = 300 };

static int many_body(void *arg)
{
    static struct ouro_task *tasks[MANY];
    (void)arg;
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(ouro_task_spawn(resolve_task, NULL, &tasks[i]), 0);
    for (int i = 0; i < MANY; i++) {
        int result = -1;
        ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
        ck_assert_int_eq(result, 0);
    }
    ck_assert_int_eq(atomic_load(&fake.calls), MANY);
    ck_assert_uint_le(pool_threads_started(), 64);
    return 0;
}

OURO_TEST(many_lookups_share_few_threads)
{
    static const char *const literals[] = {"192.0.2.1", NULL};
    use_fake(literals, 0, false);
    run(many_body);
}

OURO_TEST(plain_threads_resolve_too)
{
    static const char *const literals[] = {"192.0.2.1", NULL};
    int rc = -1;
    use_fake(literals, 0, false);
    struct ouro_runtime *runtime = open_runtime(0);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_str_eq(resolved("name.example:9", 0, &rc), "192.0.2.1:9");
    ouro_leave();
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    ouro__resolve_use(NULL);
}

static int no_memory_body(void *arg)
{
    int rc = -ENOMEM;
    uint64_t failures = 0;
    (void)arg;
    ck_assert_str_eq(resolved("name.example:9", 0, &rc), "192.0.2.1:9"); /* makes the thread */
    for (uint64_t nth = 1; nth < 10; nth++) {
        ouro__alloc_fail_at(nth);
        (void)resolved("name.example:9", 0, &rc);
        ouro__alloc_fail_at(0);
        if (rc == 0)
            break;
        ck_assert_int_eq(rc, -ENOMEM);
        failures++;
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_ge(failures, 2); /* the look-up and its answer */
    return 0;
}

OURO_TEST(lack_of_memory_leaves_nothing_behind)
{
    static const char *const literals[] = {"192.0.2.1", NULL};
    use_fake(literals, 0, false);
    run(no_memory_body);
}
