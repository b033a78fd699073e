/* SPDX-License-Identifier: MIT */
/*
 * A forked child, its output through a pipe, its end by waitpid.
 *
 * Owns:    the child, from fork to wait; both within one call.
 * Threads: the caller should be the only thread, as fork demands.
 * Always:  no zombie and no descriptor is left.
 */
#include "support/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/coverage.h"
#include "support/case.h"

enum { CHILD_TIMEOUT_S = 30 };

const char *ouro_test_own_path(char path[OURO_TEST_PATH_SIZE])
{
    ssize_t length = readlink("/proc/self/exe", path, OURO_TEST_PATH_SIZE - 1);
    if (length < 0)
        return NULL;
    path[length] = '\0';
    return path;
}

static void be_child(int output, int (*body)(void *arg), void *arg) __attribute__((noreturn));

static void be_child(int output, int (*body)(void *arg), void *arg)
{
    /* What it dies of may be the point of the test: no core files. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)dup2(output, STDOUT_FILENO);
    (void)dup2(output, STDERR_FILENO);
    (void)close(output);
    ouro_test_set_skip_status(77);
    ouro_test_watch("child", CHILD_TIMEOUT_S * ouro_test_slowness());
    int status = body(arg);
    (void)fflush(NULL);
    ouro__coverage_write();
    _exit(status);
}

/* Everything from @fd until its end; what exceeds @size is read and dropped. */
static void read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    for (;;) {
        char spill[512];
        bool room = used < size - 1;
        ssize_t n = read(fd, room ? text + used : spill, room ? size - 1 - used : sizeof(spill));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (room)
            used += (size_t)n;
    }
    text[used] = '\0';
}

void ouro_test_child_run(int (*body)(void *arg), void *arg, struct ouro_test_child *out)
{
    int ends[2];
    ck_assert_msg(pipe2(ends, O_CLOEXEC) == 0, "pipe2: %m");
    (void)fflush(NULL);
    pid_t pid = fork();
    ck_assert_msg(pid >= 0, "fork: %m");
    if (pid == 0) {
        (void)close(ends[0]);
        be_child(ends[1], body, arg);
    }
    (void)close(ends[1]);
    read_all(ends[0], out->output, sizeof(out->output));
    (void)close(ends[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        ck_assert_int_eq(errno, EINTR);
    out->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    out->signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void ouro_test_child_must_pass(int (*body)(void *arg), void *arg)
{
    static struct ouro_test_child child;
    ouro_test_child_run(body, arg, &child);
    if (child.exit_status == 77)
        ouro_test_skip("%s", child.output);
    ck_assert_msg(child.exit_status == 0, "child: exit %d, signal %d: %s", child.exit_status,
                  child.signal_number, child.output);
}
