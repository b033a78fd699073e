/* SPDX-License-Identifier: MIT */
/*
 * The feature table, and the order in which a kernel is asked.
 *
 * First what may refuse as a whole: set-up, register, enter, and one operation on a socket, each
 * noted as its own stage, because a seccomp filter can allow any of them and deny the next.  Then
 * the single features, by performing them on that same ring.
 *
 * Owns:    nothing after it returns.
 * Threads: any; no state outlives a call.
 * Always:  a bit is only ever added, and only by something observed.
 * Tests:   tests/ktest/cases_catalogue.py, tests/tools/cases_probe.py
 */
#define _GNU_SOURCE
#include "probe/feature.h"

#include "probe/feature_kit.h"
#include "probe/quirk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FEATURE(key, name_, since_, required_, what_, how_)                                        \
    [OURO__FEATURE_##                                                                              \
        key] = {.name = name_, .since = since_, .what = what_, .how = how_, .required = required_}

const struct ouro__feature_info ouro__feature_table[OURO__FEATURE_COUNT] = {
    FEATURE(NODROP, "nodrop", "5.5", true, "completions survive a full queue", "feature bit"),
    FEATURE(SUBMIT_STABLE, "submit-stable", "5.5", true, "addresses and times are copied at submit",
            "feature bit"),
    FEATURE(FAST_POLL, "fast-poll", "5.7", true, "sockets wait without a worker thread",
            "feature bit"),
    FEATURE(EXT_ARG, "ext-arg", "5.11", true, "a timeout in the wait itself", "performed"),
    FEATURE(CQE_SKIP, "cqe-skip", "5.17", true, "no completion for what succeeds silently",
            "performed"),
    FEATURE(SUBMIT_ALL, "submit-all", "5.18", true, "one bad SQE does not stop a batch",
            "set-up takes the flag"),
    FEATURE(TASKRUN_FLAG, "taskrun-flag", "5.19", true, "user space sees pending work",
            "set-up takes the flag"),
    FEATURE(SINGLE_ISSUER, "single-issuer", "6.0", true, "one submitter, less locking",
            "set-up takes the flag"),
    FEATURE(DEFER_TASKRUN, "defer-taskrun", "6.1", true, "completions run when we ask",
            "set-up takes the flag; the other features are performed on such a ring"),
    FEATURE(SOCKET_OPS, "socket-ops", "5.6", true, "connect, accept, send and receive",
            "performed"),
    FEATURE(CANCEL, "cancel", "5.5", true, "cancel by user_data", "performed"),
    FEATURE(LINK_TIMEOUT, "link-timeout", "5.5", true, "a deadline tied to an operation",
            "performed"),
    FEATURE(ACCEPT_MULTISHOT, "accept-multishot", "5.19", true, "one accept for all connections",
            "performed: F_MORE is seen"),
    FEATURE(RECV_MULTISHOT, "recv-multishot", "6.0", true, "one receive for all data",
            "performed: F_MORE is seen"),
    FEATURE(PBUF_RING, "pbuf-ring", "5.19", true, "buffers given to the kernel through a ring",
            "performed"),
    FEATURE(MSG_RING, "msg-ring", "5.18", true, "a completion posted to another ring", "performed"),
    FEATURE(COOP_TASKRUN, "coop-taskrun", "5.19", false, "no interrupt to run completions",
            "set-up takes the flag"),
    FEATURE(RING_FD, "ring-fd", "5.18", false, "the ring's descriptor is looked up once",
            "performed"),
    FEATURE(REG_REG_RING, "reg-reg-ring", "6.3", false, "register calls by registered descriptor",
            "feature bit"),
    FEATURE(SOCKET, "socket", "5.19", false, "socket() as an operation", "performed"),
    FEATURE(BIND_LISTEN, "bind-listen", "6.11", false, "bind() and listen() as operations",
            "performed"),
    FEATURE(DIRECT_FD, "direct-fd", "5.19", false, "descriptors that live in the ring only",
            "performed: a socket in an allocated slot"),
    FEATURE(FIXED_FD_INSTALL, "fixed-fd-install", "6.8", false,
            "a ring's descriptor becomes a normal one", "opcode listed"),
    FEATURE(ACCEPT_DONTWAIT, "accept-dontwait", "6.10", false, "accept what is queued, never wait",
            "performed: -EAGAIN on an empty listener"),
    FEATURE(POLL_MULTISHOT, "poll-multishot", "5.13", false, "one poll for many events",
            "performed: F_MORE is seen"),
    FEATURE(TIMEOUT_MULTISHOT, "timeout-multishot", "6.4", false, "a repeating timer",
            "performed: it fires twice"),
    FEATURE(READ_MULTISHOT, "read-multishot", "6.7", false, "one read for all data of a pipe",
            "performed: F_MORE is seen"),
    FEATURE(RECVMSG_MULTISHOT, "recvmsg-multishot", "6.0", false, "datagrams with their senders",
            "performed: F_MORE is seen"),
    FEATURE(RECV_CAPS, "recv-caps", "6.17", false, "a limit on what one multishot receive takes",
            "performed"),
    FEATURE(PBUF_MMAP, "pbuf-mmap", "6.4", false, "buffer rings in the kernel's memory",
            "register takes the flag"),
    FEATURE(PBUF_STATUS, "pbuf-status", "6.8", false, "the kernel's head of a buffer ring",
            "performed"),
    FEATURE(PBUF_INC, "pbuf-inc", "6.12", false, "large buffers consumed bit by bit",
            "performed: BUF_MORE is seen"),
    FEATURE(BUNDLE, "bundle", "6.10", false, "many buffers in one receive or send", "performed"),
    FEATURE(SEND_VECTORIZED, "send-vectorized", "6.17", false, "send takes an iovec", "performed"),
    FEATURE(SEND_ZC, "send-zc", "6.0", false, "send without copying", "performed over TCP"),
    FEATURE(SENDMSG_ZC, "sendmsg-zc", "6.1", false, "sendmsg without copying", "opcode listed"),
    FEATURE(ZC_REPORT_USAGE, "zc-report-usage", "6.2", false, "tells when zero-copy copied",
            "performed over TCP"),
    FEATURE(SOCKET_CMD, "socket-cmd", "6.7", false, "socket options as operations", "performed"),
    FEATURE(CANCEL_FD, "cancel-fd", "5.19", false, "cancel by descriptor", "performed"),
    FEATURE(CANCEL_USERDATA, "cancel-userdata", "6.6", false, "cancel by descriptor and user_data",
            "the flag is taken; whether it works is a quirk"),
    FEATURE(CANCEL_OP, "cancel-op", "6.6", false, "cancel by kind of operation",
            "the flag is taken; whether it works is a quirk"),
    FEATURE(SYNC_CANCEL, "sync-cancel", "6.0", false, "cancel and wait in one call", "performed"),
    FEATURE(FUTEX, "futex", "6.7", false, "wait on a futex through the ring", "performed"),
    FEATURE(WAITID, "waitid", "6.7", false, "wait for a child through the ring", "opcode listed"),
    FEATURE(EPOLL_WAIT, "epoll-wait", "6.15", false, "wait on an epoll set through the ring",
            "opcode listed"),
    FEATURE(PIPE, "pipe", "6.16", false, "pipe() as an operation", "opcode listed"),
    FEATURE(MIN_WAIT, "min-wait", "6.12", false, "wait a little for more before returning",
            "performed"),
    FEATURE(ABS_TIMER, "abs-timer", "6.12", false, "absolute time in the wait", "performed"),
    FEATURE(CLOCK, "clock", "6.12", false, "choice of the wait's clock", "performed"),
    FEATURE(REGISTERED_WAIT, "registered-wait", "6.13", false, "wait arguments copied never again",
            "performed"),
    FEATURE(NO_IOWAIT, "no-iowait", "6.15", false, "waiting is not accounted as I/O wait",
            "performed"),
    FEATURE(NAPI, "napi", "6.9", false, "busy polling of network devices",
            "registered and removed"),
    FEATURE(RESIZE, "resize", "6.13", false, "a ring grows while in use", "performed"),
    FEATURE(SEND_MSG_RING, "send-msg-ring", "6.13", false, "post to a ring without having one",
            "performed"),
    FEATURE(IOWQ_MAX_WORKERS, "iowq-max-workers", "5.15", false, "a bound on worker threads",
            "performed"),
    FEATURE(NO_SQARRAY, "no-sqarray", "6.6", false, "no index array between ring and SQEs",
            "set-up takes the flag"),
    FEATURE(CQE_MIXED, "cqe-mixed", "6.18", false, "small and large CQEs in one ring",
            "set-up takes the flag"),
    FEATURE(QUERY, "query", "6.18", false, "the kernel tells its limits", "performed"),
    FEATURE(MADV_GUARD, "madv-guard", "6.13", false, "guard pages that split no mapping",
            "performed"),
};

uint64_t ouro__feature_required_bits(void)
{
    uint64_t bits = 0;
    for (int i = 0; i < OURO__FEATURE_COUNT; i++)
        if (ouro__feature_table[i].required)
            bits |= OURO__FEATURE_BIT(i);
    return bits;
}

/* Reads the start of a small file: its length, or -errno. */
static ssize_t read_small_file(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t got = read(fd, buffer, size - 1);
    int rc = errno;
    (void)close(fd);
    if (got < 0)
        return -rc;
    buffer[got] = '\0';
    return got;
}

static int number_after(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    if (at == NULL)
        return -1;
    return (int)strtol(at + strlen(label), NULL, 10);
}

static void read_environment(struct ouro__feature_report *report)
{
    struct utsname uts;
    if (uname(&uts) == 0) {
        memcpy(report->kernel_release, uts.release, sizeof(report->kernel_release) - 1);
        memcpy(report->machine, uts.machine, sizeof(report->machine) - 1);
    }
    report->sysctl_io_uring_disabled = -1;
    report->seccomp_mode = -1;
    char text[4096];
    if (read_small_file("/proc/sys/kernel/io_uring_disabled", text, sizeof(text)) > 0)
        report->sysctl_io_uring_disabled = (int)strtol(text, NULL, 10);
    if (read_small_file("/proc/self/status", text, sizeof(text)) > 0)
        report->seccomp_mode = number_after(text, "\nSeccomp:");
    struct rlimit limit;
    report->memlock_limit_bytes = UINT64_MAX;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        report->memlock_limit_bytes = (uint64_t)limit.rlim_cur;
}

/* The ring the whole tier needs, or else a plain one and the knowledge of what was refused. */
static int open_ring(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    static const struct {
        enum ouro__feature feature;
        uint32_t flags;
    } wanted[] = {
        {OURO__FEATURE_SUBMIT_ALL, IORING_SETUP_SUBMIT_ALL},
        {OURO__FEATURE_SINGLE_ISSUER, IORING_SETUP_SINGLE_ISSUER},
        {OURO__FEATURE_DEFER_TASKRUN, OURO__KIT_DEFER},
        {OURO__FEATURE_TASKRUN_FLAG, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
    };
    int rc = ouro__kit_open(kit, 16,
                            OURO__KIT_DEFER | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG);
    bool all = rc == 0;
    if (rc == -EINVAL)
        rc = ouro__kit_open(kit, 16, 0);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        ouro__feature_found(report, wanted[i].feature,
                            all || ouro__kit_setup_takes(wanted[i].flags));
    return 0;
}

static void read_feature_bits(struct ouro__feature_report *report)
{
    static const struct {
        enum ouro__feature feature;
        uint32_t bit;
        bool suffices; /* nothing to perform in passing: the bit is the answer */
    } bits[] = {
        {OURO__FEATURE_NODROP, IORING_FEAT_NODROP, true},
        {OURO__FEATURE_SUBMIT_STABLE, IORING_FEAT_SUBMIT_STABLE, true},
        {OURO__FEATURE_FAST_POLL, IORING_FEAT_FAST_POLL, true},
        {OURO__FEATURE_EXT_ARG, IORING_FEAT_EXT_ARG, false},
        {OURO__FEATURE_CQE_SKIP, IORING_FEAT_CQE_SKIP, false},
        {OURO__FEATURE_REG_REG_RING, OURO__FEAT_REG_REG_RING, true},
        {OURO__FEATURE_BUNDLE, OURO__FEAT_RECVSEND_BUNDLE, false},
        {OURO__FEATURE_MIN_WAIT, OURO__FEAT_MIN_TIMEOUT, false},
        {OURO__FEATURE_NO_IOWAIT, OURO__FEAT_NO_IOWAIT, false},
    };
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        if ((report->ring_features & bits[i].bit) == 0)
            continue;
        report->claimed |= OURO__FEATURE_BIT(bits[i].feature);
        if (bits[i].suffices)
            report->present |= OURO__FEATURE_BIT(bits[i].feature);
    }
}

static int read_probe(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    union {
        struct io_uring_probe probe;
        uint8_t bytes[sizeof(struct io_uring_probe) + 128 * sizeof(struct io_uring_probe_op)];
    } answer;
    memset(&answer, 0, sizeof(answer));
    int rc = io_uring_register((unsigned)kit->ring.ring_fd, IORING_REGISTER_PROBE, &answer, 128);
    if (rc < 0)
        return rc;
    const struct io_uring_probe_op *ops =
        (const void *)(answer.bytes + offsetof(struct io_uring_probe, ops));
    for (uint32_t op = 0; op <= answer.probe.last_op && op < 128; op++) {
        if ((ops[op].flags & IO_URING_OP_SUPPORTED) == 0)
            continue;
        report->op_supported[op / 64] |= UINT64_C(1) << (op % 64);
        report->op_count++;
    }
    static const struct {
        enum ouro__feature feature;
        uint32_t op;
        bool suffices;
    } listed[] = {
        {OURO__FEATURE_SOCKET_OPS, IORING_OP_RECV, false},
        {OURO__FEATURE_CANCEL, IORING_OP_ASYNC_CANCEL, false},
        {OURO__FEATURE_LINK_TIMEOUT, IORING_OP_LINK_TIMEOUT, false},
        {OURO__FEATURE_MSG_RING, IORING_OP_MSG_RING, false},
        {OURO__FEATURE_SOCKET, IORING_OP_SOCKET, false},
        {OURO__FEATURE_BIND_LISTEN, OURO__OP_LISTEN, false},
        {OURO__FEATURE_FIXED_FD_INSTALL, OURO__OP_FIXED_FD_INSTALL, true},
        {OURO__FEATURE_READ_MULTISHOT, OURO__OP_READ_MULTISHOT, false},
        {OURO__FEATURE_SEND_ZC, IORING_OP_SEND_ZC, false},
        {OURO__FEATURE_SENDMSG_ZC, IORING_OP_SENDMSG_ZC, true},
        {OURO__FEATURE_FUTEX, OURO__OP_FUTEX_WAIT, false},
        {OURO__FEATURE_WAITID, OURO__OP_WAITID, true},
        {OURO__FEATURE_EPOLL_WAIT, OURO__OP_EPOLL_WAIT, true},
        {OURO__FEATURE_PIPE, OURO__OP_PIPE, true},
    };
    for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
        if (!ouro__feature_op_listed(report, listed[i].op))
            continue;
        report->claimed |= OURO__FEATURE_BIT(listed[i].feature);
        if (listed[i].suffices)
            report->present |= OURO__FEATURE_BIT(listed[i].feature);
    }
    return 0;
}

/* A NOP through submit and timed wait: enter() is allowed, and takes EXT_ARG. */
static int try_enter(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct ouro__kit_cqe cqe;
    (void)ouro__kit_sqe(kit, IORING_OP_NOP, -1, 1);
    int rc = ouro__kit_submit(kit);
    if (rc < 0)
        return rc;
    if ((report->ring_features & IORING_FEAT_EXT_ARG) == 0)
        return 0;
    rc = ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe);
    if (rc < 0)
        return rc;
    ouro__feature_found(report, OURO__FEATURE_EXT_ARG,
                        ouro__kit_wait(kit, 1000, &cqe) == -ETIME && cqe.user_data == 1);
    return 0;
}

/* Bytes through a pair by SEND and RECV. */
static int try_socket(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2];
    int rc = ouro__kit_pair(SOCK_STREAM, fds);
    if (rc < 0)
        return rc;
    char in[8] = {0};
    struct ouro__kit_cqe cqe = {0};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_SEND, fds[0], 1);
    sqe->addr = (uint64_t)(uintptr_t) "ouro";
    sqe->len = 4;
    rc = ouro__kit_call(kit, 1, &cqe);
    if (rc == 0 && cqe.res < 0)
        rc = cqe.res;
    if (rc == 0) {
        sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fds[1], 2);
        sqe->addr = (uint64_t)(uintptr_t)in;
        sqe->len = sizeof(in);
        rc = ouro__kit_call(kit, 2, &cqe);
        if (rc == 0 && cqe.res < 0)
            rc = cqe.res;
    }
    ouro__feature_found(report, OURO__FEATURE_SOCKET_OPS,
                        rc == 0 && cqe.res == 4 && memcmp(in, "ouro", 4) == 0);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
    return rc;
}

static void detect_guard_pages(struct ouro__feature_report *report)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return;
    ouro__feature_found(report, OURO__FEATURE_MADV_GUARD,
                        madvise(map, page, OURO__MADV_GUARD_INSTALL) == 0);
    (void)munmap(map, page);
}

static int detect(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    report->stage = OURO__FEATURE_STAGE_REGISTER;
    int rc = read_probe(kit, report);
    if (rc < 0)
        return rc;
    report->stage = OURO__FEATURE_STAGE_ENTER;
    rc = try_enter(kit, report);
    if (rc < 0)
        return rc;
    if (ouro__feature_present(report, OURO__FEATURE_EXT_ARG)) {
        report->stage = OURO__FEATURE_STAGE_SOCKET;
        rc = try_socket(kit, report);
        if (rc < 0)
            return rc;
        ouro__feature_detect_sockets(kit, report);
        ouro__feature_detect_registers(kit, report);
    }
    report->stage = OURO__FEATURE_STAGE_TIER;
    const uint64_t required = ouro__feature_required_bits();
    if ((report->present & required) != required)
        return -ENOTSUP;
    report->stage = OURO__FEATURE_STAGE_DONE;
    return 0;
}

int ouro__feature_detect(struct ouro__feature_report *out)
{
    const int64_t start_ns = ouro__kit_now_ns();
    struct ouro__feature_report report = {.stage = OURO__FEATURE_STAGE_SETUP,
                                          .quirks_untested = OURO__QUIRK_ALL};
    read_environment(&report);
    detect_guard_pages(&report);
    struct ouro__kit_ring kit;
    int rc = open_ring(&kit, &report);
    if (rc == 0) {
        report.ring_features = kit.params.features;
        read_feature_bits(&report);
        rc = detect(&kit, &report);
        ouro__kit_close(&kit);
    }
    report.error = rc;
    report.detect_ns = ouro__kit_now_ns() - start_ns;
    *out = report;
    return rc;
}
