/* SPDX-License-Identifier: MIT */
/*
 * The feature table: a line for each feature of io_uring that ouro or ouro-ktest knows.
 *
 * A feature's place in the table is its bit in masks that callers store (ouro_runtime_config), so
 * entries are only ever appended.
 *
 * Owns:    nothing.
 * Threads: any; the table is constant.
 * Always:  every enum ouro__feature has its line.
 * Tests:   tests/tools/cases_probe.py, tests/runtime/test_choice.c
 */
#include "probe/feature.h"

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
    FEATURE(DEFER_TASKRUN, "defer-taskrun", "6.1", true,
            "completions run when the ring's owner asks",
            "set-up takes the flag; the other features are performed on such a ring"),
    FEATURE(SOCKET_OPS, "socket-ops", "5.6", true, "connect, accept, send and receive",
            "performed"),
    FEATURE(CANCEL, "cancel", "5.5", true, "cancel by user_data", "performed"),
    FEATURE(LINK_TIMEOUT, "link-timeout", "5.5", true, "a deadline tied to an operation",
            "performed"),
    FEATURE(ACCEPT_MULTISHOT, "accept-multishot", "5.19", false, "one accept for all connections",
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
