/* SPDX-License-Identifier: MIT */
/*
 * Option structs as programs built with other versions of the headers pass them: shorter, with
 * garbage where a longer one would go on, and longer.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtime's.
 * Always:  what lies past the size that is given has no effect.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"
#include "support/sockets.h"

#include <errno.h>
#include <ouro.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 512 };

/* An option struct with room behind it. */
union config {
    struct ouro_runtime_config here;
    char bytes[ROOM];
};
union task {
    struct ouro_task_options here;
    char bytes[ROOM];
};
union connect {
    struct ouro_tcp_connect_options here;
    char bytes[ROOM];
};
union listen {
    struct ouro_tcp_listen_options here;
    char bytes[ROOM];
};

static void set_size(void *options, size_t size)
{
    memcpy(options, &size, sizeof(size));
}

static int returns_zero(void *arg)
{
    (void)arg;
    return 0;
}

static void runtime_of(union config *config, int expected)
{
    struct ouro_runtime *runtime = NULL;
    int result = -1;
    ck_assert_int_eq(ouro_runtime_new(&config->here, &runtime), expected);
    if (expected == 0) {
        ck_assert_int_eq(ouro_runtime_block_on(runtime, returns_zero, NULL, &result), 0);
        ck_assert_int_eq(result, 0);
    }
    ouro_runtime_free(runtime);
}

OURO_TEST(runtime_configurations_of_other_sizes)
{
    const size_t older = offsetof(struct ouro_runtime_config, stack_size_bytes);
    union config config;
    memset(&config, 0xff, sizeof(config));
    config.here = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    memset(config.bytes + older, 0xff, ROOM - older); /* a stack size that would be refused */
    runtime_of(&config, -EINVAL);
    set_size(&config, older);
    runtime_of(&config, 0);

    memset(&config, 0, sizeof(config));
    config.here = ouro_test_config(OURO_FLAVOUR_MULTI_THREAD);
    set_size(&config, sizeof(config.here) + 64);
    runtime_of(&config, 0);
    config.bytes[sizeof(config.here) + 63] = 1;
    runtime_of(&config, -EINVAL);
}

static int spawn_and_join(const union task *options)
{
    struct ouro_task *task = NULL;
    int rc = ouro_task_spawn_with(NULL, &options->here, returns_zero, NULL, &task);
    return rc < 0 ? rc : ouro_task_join(task, NULL);
}

static int spawns_with_other_sizes(void *arg)
{
    const size_t older = offsetof(struct ouro_task_options, stack_size_bytes);
    union task options;
    (void)arg;
    memset(&options, 0xff, sizeof(options));
    options.here.name = "older";
    set_size(&options, sizeof(options.here));
    ck_assert_int_eq(spawn_and_join(&options), -EINVAL); /* the garbage is a stack size */
    set_size(&options, older);
    ck_assert_int_eq(spawn_and_join(&options), 0);

    memset(&options, 0, sizeof(options));
    options.here = (struct ouro_task_options)OURO_TASK_OPTIONS_INIT;
    set_size(&options, sizeof(options.here) + 8);
    ck_assert_int_eq(spawn_and_join(&options), 0);
    options.bytes[sizeof(options.here)] = 1;
    ck_assert_int_eq(spawn_and_join(&options), -EINVAL);
    return 0;
}

OURO_TEST(task_options_of_other_sizes)
{
    ouro_test_everywhere(spawns_with_other_sizes, NULL);
}

static int connect_and_close(const char *address, const union connect *options)
{
    struct ouro_stream *stream = NULL;
    int rc = ouro_tcp_stream_connect_with(OURO_ADDRS(address), &options->here, &stream);
    return rc < 0 ? rc : ouro_stream_close(stream);
}

static int connects_with_other_sizes(void *arg)
{
    const size_t older = offsetof(struct ouro_tcp_connect_options, bind);
    union connect options;
    int rc = 0;
    for (int larger = 0; larger < 2; larger++) {
        memset(&options, larger ? 0 : 0xff, sizeof(options));
        if (larger)
            options.here = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
        options.here.flags = OURO_CONNECT_F_NODELAY;
        set_size(&options, larger ? sizeof(options.here) + 16 : older);
        rc = connect_and_close(arg, &options);
        ck_assert_int_eq(rc, 0);
    }
    options.bytes[sizeof(options.here) + 8] = 1;
    ck_assert_int_eq(connect_and_close(arg, &options), -EINVAL);
    return 0;
}

OURO_TEST(connect_options_of_other_sizes)
{
    uint16_t port = 0;
    char address[OURO_TEST_ADDRESS_SIZE];
    int listening = ouro_test_listen(AF_INET, 16, &port);
    ouro_test_address(AF_INET, port, address);
    ouro_test_everywhere(connects_with_other_sizes, address);
    close(listening);
}

static int listen_and_close(const union listen *options)
{
    struct ouro_tcp_listener *listener = NULL;
    int rc = ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options->here, &listener);
    return rc < 0 ? rc : ouro_tcp_listener_close(listener);
}

static int listens_with_other_sizes(void *arg)
{
    union listen options;
    (void)arg;
    memset(&options, 0xff, sizeof(options));
    set_size(&options, sizeof(options.here));
    ck_assert_int_eq(listen_and_close(&options), -EINVAL); /* the garbage is flags */
    set_size(&options, offsetof(struct ouro_tcp_listen_options, flags));
    ck_assert_int_eq(listen_and_close(&options), 0);

    memset(&options, 0, sizeof(options));
    set_size(&options, sizeof(options.here) + 24);
    ck_assert_int_eq(listen_and_close(&options), 0);
    options.bytes[sizeof(options.here) + 23] = 1;
    ck_assert_int_eq(listen_and_close(&options), -EINVAL);
    return 0;
}

OURO_TEST(listen_options_of_other_sizes)
{
    ouro_test_everywhere(listens_with_other_sizes, NULL);
}
