/* SPDX-License-Identifier: MIT */
/*
 * Signals: what programs inherit that tasks start, and which threads take the process's signals.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtime's.
 * Always:  the main thread's mask is put back before a case ends.
 */
#include "support/child.h"
#include "support/ouro_test.h"
#include "support/runtime.h"

#include "base/compiler.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ouro.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { TEXT_SIZE = 512, COMMAND_SIZE = OURO_TEST_PATH_SIZE + 64 };

#define NONE_BLOCKED ""
#define USR2_AND_TERM_BLOCKED "12 15 "

/* The numbers of the real-time signals that libc keeps for itself. */
enum { LIBC_CANCEL = 32, LIBC_SETXID = 33 };

static void read_text(int fd, char text[TEXT_SIZE])
{
    size_t used = 0;
    ssize_t got = 0;
    while (used < TEXT_SIZE - 1 && (got = read(fd, text + used, TEXT_SIZE - 1 - used)) != 0) {
        if (got > 0)
            used += (size_t)got;
        else
            ck_assert_int_eq(errno, EINTR);
    }
    text[used] = '\0';
}

/* The ways to start a program, this one.  Each shows the signals that it blocks.  Those by way of a
 * shell come last: some shells begin with an empty mask, whatever they inherit. */
static void by_spawn(char text[TEXT_SIZE])
{
    char path[OURO_TEST_PATH_SIZE];
    char *const argv[] = {path, (char *)"--blocked", NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid = 0;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    ck_assert_int_eq(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO), 0);
    ck_assert_ptr_nonnull(ouro_test_own_path(path));
    ck_assert_int_eq(posix_spawn(&pid, path, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    read_text(ends[0], text);
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static void by_fork(char text[TEXT_SIZE])
{
    char path[OURO_TEST_PATH_SIZE];
    int ends[2];
    ck_assert_ptr_nonnull(ouro_test_own_path(path));
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)execl(path, path, "--blocked", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0);
    close(ends[1]);
    read_text(ends[0], text);
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* The shell's command: this program's path may have blanks. */
static void show_mask(char command[COMMAND_SIZE], int to)
{
    char path[OURO_TEST_PATH_SIZE];
    ck_assert_ptr_nonnull(ouro_test_own_path(path));
    (void)snprintf(command, COMMAND_SIZE, "exec '%s' --blocked > /proc/self/fd/%d", path, to);
}

static void by_popen(char text[TEXT_SIZE])
{
    char command[COMMAND_SIZE];
    show_mask(command, STDOUT_FILENO);
    FILE *stream = popen(command, "r");
    ck_assert_ptr_nonnull(stream);
    if (fgets(text, TEXT_SIZE, stream) == NULL)
        text[0] = '\0';
    ck_assert_int_eq(pclose(stream), 0);
}

static void by_system(char text[TEXT_SIZE])
{
    char command[COMMAND_SIZE];
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    show_mask(command, ends[1]);
    ck_assert_int_eq(system(command), 0); /* NOLINT: it is what is tested */
    close(ends[1]);
    read_text(ends[0], text);
    close(ends[0]);
}

static int start_programs(void *arg)
{
    static void (*const ways[])(char *) = {by_spawn, by_fork, by_popen, by_system};
    const char *wanted = arg;
    bool by_shells = strcmp(wanted, NONE_BLOCKED) == 0 && system(NULL) != 0; /* NOLINT */
    size_t count = by_shells ? OURO__ARRAY_LEN(ways) : 2;
    for (size_t i = 0; i < count; i++) {
        char text[TEXT_SIZE];
        ways[i](text);
        ck_assert_msg(strcmp(text, wanted) == 0, "way %zu: %s instead of %s", i, text, wanted);
    }
    return 0;
}

static int start_programs_everywhere(void *arg)
{
    int result = -1;
    ck_assert_int_eq(start_programs(arg), 0);
    ck_assert_int_eq(ouro_blocking(start_programs, arg, &result), 0);
    ck_assert_int_eq(result, 0);
    /* After a wait, too: a worker's waits change its mask. */
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    return start_programs(arg);
}

OURO_TEST(programs_that_tasks_start_have_the_programs_mask)
{
    sigset_t set;
    sigset_t before;
    char wanted[TEXT_SIZE];
    by_spawn(wanted);
    ck_assert_str_eq(wanted, NONE_BLOCKED);
    ouro_test_everywhere(start_programs_everywhere, wanted);
    /* A mask of its own that the program chose before it made the runtime is inherited as well. */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigaddset(&set, SIGTERM);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &set, &before), 0);
    by_spawn(wanted);
    ck_assert_str_eq(wanted, USR2_AND_TERM_BLOCKED);
    ouro_test_everywhere(start_programs_everywhere, wanted);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Calls @look with the signals that each of the library's threads blocks now; how many there are.
 */
static unsigned each_thread(bool (*look)(uint64_t blocked), bool *out_all)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry = NULL;
    unsigned count = 0;
    *out_all = true;
    ck_assert_ptr_nonnull(tasks);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300];
        char line[256];
        bool is_ours = false;
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
            if (starts_with(line, "Name:\touro-"))
                is_ours = true;
            if (!is_ours || !starts_with(line, "SigBlk:"))
                continue;
            count++;
            *out_all = look(strtoull(line + strlen("SigBlk:"), NULL, 16)) && *out_all;
        }
        if (status != NULL)
            (void)fclose(status);
    }
    (void)closedir(tasks);
    return count;
}

static bool blocks(uint64_t blocked, int number)
{
    return (blocked >> (number - 1) & 1) != 0;
}

/* What a thread blocks that waits: all but faults and libc's own. */
static bool is_quiet(uint64_t blocked)
{
    static const int taken[] = {SIGSEGV, SIGBUS,  SIGFPE,      SIGILL,     SIGTRAP,
                                SIGSYS,  SIGABRT, LIBC_CANCEL, LIBC_SETXID};
    for (size_t i = 0; i < OURO__ARRAY_LEN(taken); i++)
        ck_assert_msg(!blocks(blocked, taken[i]), "signal %d is blocked", taken[i]);
    return blocks(blocked, SIGUSR1) && blocks(blocked, SIGTERM) && blocks(blocked, SIGINT);
}

/* @arg: how many threads of the library there must be. */
static bool all_are_quiet(void *arg)
{
    bool all = false;
    return each_thread(is_quiet, &all) == *(const unsigned *)arg && all;
}

static atomic_int handled;

static void count_handled(int number)
{
    (void)number;
    (void)atomic_fetch_add(&handled, 1);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int one_blocking_call(void *arg)
{
    return ouro_blocking(nothing, arg, NULL);
}

enum { SIGNALS = 20 };

/*
 * The main thread blocks SIGUSR1 when the runtime runs; no idle thread of the runtime takes it.  A
 * worker that wakes for a moment to give stacks back may: one or two of them, on a slow machine.
 */
static void idle_threads_leave_it(uint32_t flags, unsigned expected)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_MULTI_THREAD);
    struct sigaction action = {.sa_handler = count_handled};
    struct sigaction earlier;
    sigset_t set;
    sigset_t before;
    config.flags = flags;
    config.driver_threads = 1;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, one_blocking_call, NULL, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &action, &earlier), 0);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    ck_assert(ouro_test_until(all_are_quiet, &expected, 10 * OURO_TEST_SECOND));
    for (int i = 0; i < SIGNALS; i++) {
        const int handled_before = atomic_load(&handled);
        bool was_taken = false;
        ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
        while (!was_taken && atomic_load(&handled) == handled_before) {
            const struct timespec moment = {.tv_nsec = 10000000};
            was_taken = sigtimedwait(&set, NULL, &moment) == SIGUSR1;
        }
    }
    ck_assert_int_le(atomic_exchange(&handled, 0), SIGNALS / 4);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &earlier, NULL), 0);
    ouro_runtime_free(runtime);
}

OURO_TEST(idle_threads_take_no_signals_of_the_process)
{
    idle_threads_leave_it(0, 4); /* two workers, a driver thread, a thread of the pool */
    idle_threads_leave_it(OURO_RUNTIME_F_NO_IO, 4);
}

static pid_t handler_ran_on;

static void note_thread(int number)
{
    (void)number;
    handler_ran_on = (pid_t)syscall(SYS_gettid);
    (void)atomic_fetch_add(&handled, 1);
}

static bool was_handled(void *arg)
{
    return atomic_load(&handled) == *(const int *)arg;
}

static bool sleeps_now(void *arg)
{
    char path[64];
    char state = '?';
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", *(const pid_t *)arg);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
    (void)fclose(file);
    return state == 'S';
}

/* Busy, so that its thread does not block the signal.  The kernel prefers the program's first
 * thread unless that has not finished with an earlier signal (complete_signal() in
 * kernel/signal.c), so it is waited for. */
static int signals_the_process(void *arg)
{
    const pid_t main_thread = *(const pid_t *)arg;
    for (int i = 1; i <= 50; i++) {
        ck_assert(ouro_test_until(sleeps_now, arg, 10 * OURO_TEST_SECOND));
        ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
        ck_assert(ouro_test_until(was_handled, &i, 10 * OURO_TEST_SECOND));
        ck_assert_int_eq(handler_ran_on, main_thread);
    }
    return 0;
}

OURO_TEST(handlers_run_on_the_programs_thread)
{
#if OURO__TSAN
    ouro_test_skip("ThreadSanitizer holds signals back until the thread calls libc");
#endif
    struct sigaction action = {.sa_handler = note_thread};
    struct sigaction earlier;
    pid_t main_thread = getpid();
    ck_assert_int_eq(sigaction(SIGUSR1, &action, &earlier), 0);
    ck_assert_int_eq(ouro_test_in_task_of_many(signals_the_process, &main_thread), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, &earlier, NULL), 0);
}

/* libc runs a change of the user's identity on every thread, by a signal, and waits for it. */
OURO_TEST(sleeping_workers_do_not_hold_up_setuid)
{
    unsigned expected = 2;
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    ck_assert(ouro_test_until(all_are_quiet, &expected, 10 * OURO_TEST_SECOND));
    ck_assert_int_eq(setresgid((gid_t)-1, (gid_t)-1, (gid_t)-1), 0);
    ouro_runtime_free(runtime);
}
