/* SPDX-License-Identifier: MIT */
/*
 * An operation's system call on a thread that may block.
 *
 * A call that waits for a disk ends soon and cannot be interrupted.  A call that returns -EAGAIN
 * has to wait for a peer, perhaps for ever.  The thread then waits in poll(2) for the descriptors
 * and an eventfd, and an interruption writes to the eventfd.  The thread makes the eventfd when it
 * needs it: it stores the eventfd, then reads is_interrupted; interrupt() sets is_interrupted, then
 * reads the eventfd.  At least one sees both.
 *
 * Owns:    the eventfd.
 * Threads: as labelled in the header.
 * Always:  after interrupt() run() returns, unless its call waits for a disk.
 * Tests:   tests/task/test_file.c
 */
#include "registry/op_blocking.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

void ouro__op_blocking_init(struct ouro__op_blocking *blocking, struct ouro__op *op)
{
    blocking->op = op;
    ouro__atomic_init(&blocking->wake_fd, -1);
    ouro__atomic_init(&blocking->is_interrupted, false);
}

void ouro__op_blocking_fini(struct ouro__op_blocking *blocking)
{
    int wake_fd = ouro__load(&blocking->wake_fd, memory_order_acquire);
    if (wake_fd >= 0)
        (void)close(wake_fd);
}

/* Waits until the call may make progress, or is interrupted.  0 or -errno. */
static int wait_for_ends(struct ouro__op_blocking *blocking)
{
    struct pollfd fds[3];
    int wake_fd = ouro__load(&blocking->wake_fd, memory_order_relaxed);
    if (wake_fd < 0) {
        wake_fd = eventfd(0, EFD_CLOEXEC);
        if (wake_fd < 0)
            return -errno;
        ouro__store(&blocking->wake_fd, wake_fd, memory_order_seq_cst);
    }
    if (ouro__load(&blocking->is_interrupted, memory_order_seq_cst))
        return -ECANCELED;
    unsigned count = ouro__op_poll_fds(blocking->op, fds);
    fds[count] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    return count == 0 || poll(fds, count + 1, -1) > 0 || errno == EINTR ? 0 : -errno;
}

int32_t ouro__op_blocking_run(struct ouro__op_blocking *blocking)
{
    int32_t result = ouro__op_call(blocking->op);
    while (result == -EAGAIN) {
        int rc = wait_for_ends(blocking);
        result = rc < 0 ? rc : ouro__op_call(blocking->op);
    }
    return result;
}

void ouro__op_blocking_interrupt(struct ouro__op_blocking *blocking)
{
    ouro__store(&blocking->is_interrupted, true, memory_order_seq_cst);
    int wake_fd = ouro__load(&blocking->wake_fd, memory_order_seq_cst);
    if (wake_fd >= 0)
        (void)eventfd_write(wake_fd, 1);
}
