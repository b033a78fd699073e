/* SPDX-License-Identifier: MIT */
/*
 * Names of Unix sockets: files that dead processes have left, files of the living, modes, and what
 * close removes.
 */
#include "everywhere.h"
#include "unix_names.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "ouro/error.h"
#include "ouro/group.h"

static int socket_of_type(int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Binds @addr and closes without removing the file, as a process that dies does. */
static void leave_stale(const struct ouro_socket_addr *addr, int type)
{
    int fd = socket_of_type(type);
    ck_assert_msg(bind(fd, ouro_socket_addr_sockaddr(addr), (socklen_t)addr->length) == 0, "%m");
    (void)close(fd);
}

static bool exists(struct ouro_test_scratch *scratch, const char *name)
{
    struct stat status;
    return lstat(ouro_test_scratch_path(scratch, name), &status) == 0;
}

static int replace_stale(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_unix_bind_options keep = OURO_UNIX_BIND_OPTIONS_INIT;
    struct ouro_socket_addr addr = unix_path(scratch, "name");
    struct ouro_unix_datagram *socket = NULL;
    struct ouro_unix_datagram *second = NULL;
    keep.flags = OURO_UNIX_F_KEEP_STALE;
    const int types[] = {SOCK_DGRAM, SOCK_STREAM, SOCK_SEQPACKET};
    for (size_t i = 0; i < 3; i++) {
        leave_stale(&addr, types[i]);
        ck_assert_int_eq(ouro_unix_datagram_bind(&addr, &keep, &socket), -EADDRINUSE);
        ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &socket), 0);
        ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &second), -EADDRINUSE);
        ck_assert_int_eq(ouro_unix_datagram_close(socket), 0);
        ck_assert(!exists(scratch, "name"));
    }

    /* A stream socket that is bound but does not listen yet is alive. */
    int fd = socket_of_type(SOCK_STREAM);
    ck_assert_int_eq(bind(fd, ouro_socket_addr_sockaddr(&addr), (socklen_t)addr.length), 0);
    ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &second), -EADDRINUSE);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &second), -EADDRINUSE);
    /* It was asked without a connection: none waits. */
    ck_assert_int_eq(ouro_test_poll(fd, POLLIN, 0), 0);
    (void)close(fd);
    ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &socket), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(socket), 0);

    /* A file that is no socket is nobody's to remove. */
    fd = open(ouro_test_scratch_path(scratch, "name"), O_CREAT | O_CLOEXEC | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &second), -EADDRINUSE);
    ck_assert(exists(scratch, "name"));
    ck_assert_int_eq(unlink(ouro_test_scratch_path(scratch, "name")), 0);

    struct ouro_socket_addr nowhere = unix_path(scratch, "no/where");
    ck_assert_int_eq(ouro_unix_datagram_bind(&nowhere, NULL, &second), -ENOENT);
    ck_assert_ptr_null(second);
    return 0;
}

OURO_TEST(a_dead_process_file_is_replaced_and_a_live_one_is_not)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(replace_stale, &scratch);
    ouro_test_scratch_close(&scratch);
}

/* Close removes the file that bind made, and no other of its name. */
static int remove_own_only(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_socket_addr addr = unix_path(scratch, "name");
    struct ouro_unix_datagram *first = unix_datagram(&addr);
    ck_assert(exists(scratch, "name"));
    ck_assert_int_eq(unlink(ouro_test_scratch_path(scratch, "name")), 0);
    struct ouro_unix_datagram *second = unix_datagram(&addr);
    ck_assert_int_eq(ouro_unix_datagram_close(first), 0);
    ck_assert(exists(scratch, "name"));
    ck_assert_int_eq(ouro_unix_datagram_close(second), 0);
    ck_assert(!exists(scratch, "name"));
    return 0;
}

OURO_TEST(close_removes_only_its_own_file)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(remove_own_only, &scratch);
    ouro_test_scratch_close(&scratch);
}

static int set_mode(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_unix_bind_options options = OURO_UNIX_BIND_OPTIONS_INIT;
    struct ouro_socket_addr addr = unix_path(scratch, "name");
    struct ouro_unix_datagram *socket = NULL;
    const uint32_t modes[] = {0600, 0666, 0777, 0620};
    for (size_t i = 0; i < 4; i++) {
        struct stat status;
        options.mode = modes[i];
        ck_assert_int_eq(ouro_unix_datagram_bind(&addr, &options, &socket), 0);
        ck_assert_int_eq(lstat(ouro_test_scratch_path(scratch, "name"), &status), 0);
        ck_assert_uint_eq(status.st_mode & 0777, modes[i]);
        ck_assert_int_eq(ouro_unix_datagram_close(socket), 0);
    }
    options.mode = 01000;
    ck_assert_int_eq(ouro_unix_datagram_bind(&addr, &options, &socket), -EINVAL);
    return 0;
}

OURO_TEST(the_mode_is_what_was_asked_for_whatever_the_umask)
{
    struct ouro_test_scratch scratch;
    mode_t before = umask(077);
    ouro_test_scratch_open(&scratch);
    everywhere(set_mode, &scratch);
    ouro_test_scratch_close(&scratch);
    (void)umask(before);
}

struct binding {
    const struct ouro_socket_addr *addr;
    struct ouro_unix_datagram *socket;
    int rc;
};

static int bind_task(void *arg)
{
    struct binding *binding = arg;
    binding->rc = ouro_unix_datagram_bind(binding->addr, NULL, &binding->socket);
    return 0;
}

/* While the directory is locked, as by another process, a file is not replaced, and no worker
 * stops. */
static int wait_for_the_lock(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_socket_addr addr = unix_path(scratch, "name");
    struct binding binding = {.addr = &addr};
    struct ouro_task *task = NULL;
    leave_stale(&addr, SOCK_DGRAM);
    int lock = open(scratch->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(lock, 0);
    ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    ck_assert_int_eq(ouro_task_spawn(bind_task, &binding, &task), 0);
    ck_assert_int_eq(ouro_sleep(5 * OURO_MILLISECOND), 0);
    ck_assert_ptr_null(binding.socket);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(binding.rc, -ECANCELED);
    ck_assert(exists(scratch, "name"));
    ck_assert_int_eq(ouro_task_spawn(bind_task, &binding, &task), 0);
    (void)close(lock);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(binding.rc, 0);
    ck_assert_int_eq(ouro_unix_datagram_close(binding.socket), 0);
    return 0;
}

OURO_TEST(replacing_a_file_waits_for_the_lock_of_its_directory)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(wait_for_the_lock, &scratch);
    ouro_test_scratch_close(&scratch);
}

enum { RIVALS = 8 };

/* Of several that find a dead file at the same time, one gets the name. */
static int bind_in_a_race(void *arg)
{
    struct ouro_socket_addr addr = unix_path(arg, "name");
    for (int round = 0; round < 20; round++) {
        struct binding bindings[RIVALS];
        struct ouro_group group;
        int won = 0;
        leave_stale(&addr, SOCK_DGRAM);
        ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
        for (int i = 0; i < RIVALS; i++) {
            bindings[i] = (struct binding){.addr = &addr};
            ck_assert_int_eq(ouro_group_spawn(&group, NULL, bind_task, &bindings[i]), 0);
        }
        ck_assert_int_eq(ouro_group_end(&group), 0);
        for (int i = 0; i < RIVALS; i++) {
            ck_assert(bindings[i].rc == 0 || bindings[i].rc == -EADDRINUSE);
            won += bindings[i].rc == 0;
        }
        ck_assert_int_eq(won, 1);
        for (int i = 0; i < RIVALS; i++)
            ck_assert_int_eq(ouro_unix_datagram_close(bindings[i].socket), 0);
    }
    return 0;
}

OURO_TEST(of_several_rivals_one_gets_the_name)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(bind_in_a_race, &scratch);
    ouro_test_scratch_close(&scratch);
}

static int bind_abstract(void *arg)
{
    struct ouro_socket_addr addr = unix_abstract("bound");
    struct ouro_unix_datagram *first = unix_datagram(&addr);
    struct ouro_unix_datagram *second = NULL;
    struct ouro_socket_addr named[2];
    (void)arg;
    ck_assert_int_eq(ouro_unix_datagram_bind(&addr, NULL, &second), -EADDRINUSE);
    ck_assert_int_eq(ouro_unix_datagram_local_addr(first, &named[0]), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&named[0], &addr), 1);
    ck_assert_int_eq(ouro_unix_datagram_close(first), 0);
    first = unix_datagram(&addr); /* nothing is left behind */
    ck_assert_int_eq(ouro_unix_datagram_close(first), 0);
    first = unix_datagram(NULL);
    second = unix_datagram(NULL);
    ck_assert_int_eq(ouro_unix_datagram_local_addr(first, &named[0]), 0);
    ck_assert_int_eq(ouro_unix_datagram_local_addr(second, &named[1]), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&named[0], &named[1]), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(first), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(second), 0);
    return 0;
}

OURO_TEST(abstract_names_leave_nothing_behind)
{
    everywhere(bind_abstract, NULL);
}
