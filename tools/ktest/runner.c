/* SPDX-License-Identifier: MIT */
/*
 * The runner: starts a process for each assertion and kind of ring.  At most two run at a time;
 * those that measure time run alone and last.
 *
 * SIGCHLD is blocked and waited for together with the next time limit.  A process that exceeds its
 * limit is killed with its group.  If it cannot be reaped then (a thread is stuck inside the
 * kernel), it is left behind, so that one bad assertion does not end the run.
 *
 * Owns:    suite->runs, the children and the memory shared with them.
 * Threads: one.
 * Always:  every run ends with a verdict.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SLOTS_MAX = 2, REAP_MS = 3000 };

struct slot {
    struct kt_run *run; /* NULL: free */
    struct kt_shared *shared;
    pid_t pid;
    int64_t start_ns;
    int64_t deadline_ns;
    bool killed;
};

static int64_t limit_ms(const struct kt_suite *suite, const struct kt_run *run)
{
    const int own = run->assertion->timeout_ms;
    const int limit = own > suite->options.timeout_ms ? own : suite->options.timeout_ms;
    return (int64_t)limit * suite->options.slack;
}

/* "id" or "id:N": lie about the Nth observation of that assertion. */
static int plant_for(const char *plant, const struct kt_assertion *assertion)
{
    if (plant == NULL)
        return 0;
    const size_t len = strcspn(plant, ":");
    const bool match = strlen(assertion->id) == len && memcmp(assertion->id, plant, len) == 0;
    if (!match)
        return 0;
    const int at = plant[len] == ':' ? (int)strtol(plant + len + 1, NULL, 10) : 1;
    return at > 0 ? at : 1;
}

static int slot_start(struct kt_suite *suite, struct slot *slot, struct kt_run *run)
{
    memset(slot->shared, 0, sizeof(*slot->shared));
    slot->shared->plant_at = plant_for(suite->options.plant, run->assertion);
    slot->start_ns = kt_now_ns();
    slot->deadline_ns = slot->start_ns + limit_ms(suite, run) * 1000000;
    slot->killed = false;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        kt_child(suite, run, slot->shared);
    (void)setpgid(pid, pid);
    slot->pid = pid;
    slot->run = run;
    return 0;
}

/* Where the stuck process sleeps inside the kernel, if we may know. */
static void read_wchan(pid_t pid, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/wchan", (int)pid);
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, out, size - 1);
    out[got > 0 ? got : 0] = '\0';
    (void)close(fd);
}

static void kill_slot(struct kt_suite *suite, struct slot *slot)
{
    struct kt_run *run = slot->run;
    char wchan[64];
    read_wchan(slot->pid, wchan, sizeof(wchan));
    run->verdict = KT_HANG;
    snprintf(run->text, sizeof(run->text), "no end after %lld s%s%.200s%s%.60s",
             (long long)(limit_ms(suite, run) / 1000),
             slot->shared->step[0] != '\0' ? ", while: " : "", slot->shared->step,
             wchan[0] != '\0' && wchan[0] != '0' ? "; sleeps in " : "",
             wchan[0] != '0' ? wchan : "");
    (void)kill(-slot->pid, SIGKILL);
    (void)kill(slot->pid, SIGKILL);
    slot->killed = true;
    slot->deadline_ns = kt_now_ns() + (int64_t)REAP_MS * 1000000;
}

static void read_verdict(struct kt_run *run, const struct kt_shared *shared, int status)
{
    if (__atomic_load_n(&shared->ended, __ATOMIC_ACQUIRE) != 0) {
        run->verdict = shared->verdict;
        snprintf(run->text, sizeof(run->text), "%s", shared->text);
        if (shared->verdict != KT_PASS)
            snprintf(run->where, sizeof(run->where), "%s:%d", shared->file, shared->line);
        return;
    }
    run->verdict = KT_CRASH;
    char how[64];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "ended by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(how, sizeof(how), "exited with %d without a verdict", WEXITSTATUS(status));
    snprintf(run->text, sizeof(run->text), "%s%s%.200s", how,
             shared->step[0] != '\0' ? ", while: " : "", shared->step);
}

static void slot_finish(struct kt_suite *suite, struct slot *slot, int status)
{
    struct kt_run *run = slot->run;
    const struct kt_shared *shared = slot->shared;
    if (!slot->killed)
        read_verdict(run, shared, status);
    run->duration_ns = kt_now_ns() - slot->start_ns;
    run->observations = shared->observations;
    run->note_count = shared->note_count;
    memcpy(run->notes, shared->notes, sizeof(run->notes));
    run->metric_count = shared->metric_count;
    memcpy(run->metrics, shared->metrics, sizeof(run->metrics));
    if (kt_kmsg_check(suite->kmsg_fd, run->kernel_log, sizeof(run->kernel_log)) &&
        !kt_verdict_is_bad(run->verdict)) {
        run->verdict = KT_FAIL;
        snprintf(run->text, sizeof(run->text), "the kernel logged: %.300s", run->kernel_log);
    }
    run->finished = true;
    slot->run = NULL;
}

static void reap(struct kt_suite *suite, struct slot *slots, size_t *done, kt_progress_fn *progress)
{
    for (int i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &slots[i];
        if (slot->run == NULL)
            continue;
        int status = 0;
        struct kt_run *run = slot->run;
        if (waitpid(slot->pid, &status, WNOHANG) == slot->pid) {
            (void)kill(-slot->pid, SIGKILL); /* what it may have forked */
            slot_finish(suite, slot, status);
        } else if (kt_now_ns() >= slot->deadline_ns) {
            if (!slot->killed) {
                kill_slot(suite, slot);
                continue;
            }
            strncat(run->text, "; cannot be killed", sizeof(run->text) - strlen(run->text) - 1);
            slot_finish(suite, slot, 0);
        } else {
            continue;
        }
        (*done)++;
        if (progress != NULL)
            progress(suite, run, *done);
    }
}

static void sleep_until_something(const struct slot *slots)
{
    int64_t deadline_ns = INT64_MAX;
    for (int i = 0; i < SLOTS_MAX; i++)
        if (slots[i].run != NULL && slots[i].deadline_ns < deadline_ns)
            deadline_ns = slots[i].deadline_ns;
    int64_t left_ns = deadline_ns - kt_now_ns();
    if (left_ns < 0)
        left_ns = 0;
    const struct timespec timeout = {.tv_sec = (time_t)(left_ns / 1000000000),
                                     .tv_nsec = (long)(left_ns % 1000000000)};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)sigtimedwait(&set, NULL, &timeout);
}

static int run_phase(struct kt_suite *suite, struct slot *slots, bool timing, int jobs,
                     size_t *done, kt_progress_fn *progress)
{
    size_t next = 0;
    for (;;) {
        bool busy = false;
        for (int i = 0; i < jobs; i++) {
            while (slots[i].run == NULL && next < suite->run_count) {
                struct kt_run *run = &suite->runs[next++];
                if (((run->assertion->flags & KT_F_TIMING) != 0) != timing)
                    continue;
                int rc = slot_start(suite, &slots[i], run);
                if (rc < 0)
                    return rc;
            }
            busy = busy || slots[i].run != NULL;
        }
        if (!busy)
            return 0;
        sleep_until_something(slots);
        reap(suite, slots, done, progress);
    }
}

int kt_suite_run(struct kt_suite *suite, kt_progress_fn *progress)
{
    struct slot slots[SLOTS_MAX] = {{0}};
    for (int i = 0; i < SLOTS_MAX; i++) {
        slots[i].shared = mmap(NULL, sizeof(struct kt_shared), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (slots[i].shared == MAP_FAILED)
            return -errno;
    }
    sigset_t set;
    sigset_t before;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, &before);
    suite->kmsg_fd = kt_kmsg_open();
    const int64_t start_ns = kt_now_ns();
    size_t done = 0;
    int rc = run_phase(suite, slots, false, suite->options.jobs, &done, progress);
    if (rc == 0)
        rc = run_phase(suite, slots, true, 1, &done, progress);
    suite->duration_ns = kt_now_ns() - start_ns;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}
