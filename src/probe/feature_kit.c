/* SPDX-License-Identifier: MIT */
/*
 * The kit: a ring, sockets and buffers for detection and the quirk self-tests.
 *
 * It calls the kernel as directly as liburing allows, because the kernel is what is being tested:
 * SQEs are zeroed and filled by hand, a wait is one enter with a timeout in it.
 *
 * Owns:    the ring, descriptors and mappings between each open and its close.
 * Threads: a kit is used by the thread that opened it; kits share nothing.
 * Always:  user_data is set, no wait is unbounded.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/feature_kit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    KIT_PAGE = 4096,
    KIT_BUFFER_MAX = 2048,
    KIT_OPEN_TRIES = 4,
    KIT_DRAIN_MAX = 64,
    KIT_CANCEL_ROUNDS = 8
};

int64_t ouro__kit_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + (int64_t)now.tv_nsec;
}

bool ouro__kit_is_obstacle(int rc)
{
    return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -EAGAIN ||
           rc == -EBUSY || rc == -EPERM || rc == -EACCES;
}

int ouro__kit_note(struct ouro__kit_ring *kit, int rc)
{
    if (ouro__kit_is_obstacle(rc) && kit->obstacle == 0)
        kit->obstacle = rc;
    return rc;
}

/*
 * A ring's memory is given back some time after its descriptor was closed, so a process that has
 * just closed many may see ENOMEM once: ask for less, and a little later.
 */
int ouro__kit_open(struct ouro__kit_ring *kit, uint32_t entries, uint32_t setup_flags)
{
    int rc = 0;
    for (int attempt = 0; attempt < KIT_OPEN_TRIES; attempt++) {
        memset(kit, 0, sizeof(*kit));
        kit->params.flags = setup_flags | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
        kit->params.cq_entries = 32;
        rc = io_uring_queue_init_params(entries, &kit->ring, &kit->params);
        if (rc >= 0) {
            (void)io_uring_ring_dontfork(&kit->ring);
            return 0;
        }
        if (rc != -ENOMEM)
            return rc;
        if (entries > 4)
            entries /= 2;
        (void)poll(NULL, 0, 1 << attempt);
    }
    return rc;
}

void ouro__kit_close(struct ouro__kit_ring *kit)
{
    if (kit->ring.sq.sqes != NULL)
        io_uring_queue_exit(&kit->ring);
    memset(&kit->ring, 0, sizeof(kit->ring));
}

int ouro__kit_reopen(struct ouro__kit_ring *kit)
{
    const uint32_t entries = kit->params.sq_entries;
    const uint32_t flags = kit->params.flags;
    ouro__kit_close(kit);
    return ouro__kit_open(kit, entries, flags);
}

struct io_uring_sqe *ouro__kit_sqe(struct ouro__kit_ring *kit, uint8_t opcode, int fd,
                                   uint64_t user_data)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&kit->ring);
    if (sqe == NULL) {
        (void)ouro__kit_submit(kit);
        sqe = io_uring_get_sqe(&kit->ring);
    }
    if (sqe == NULL)
        sqe = &kit->spare;
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = user_data;
    return sqe;
}

int ouro__kit_submit(struct ouro__kit_ring *kit)
{
    int rc = 0;
    do {
        rc = io_uring_submit(&kit->ring);
    } while (rc == -EINTR);
    return ouro__kit_note(kit, rc);
}

static bool take_cqe(struct ouro__kit_ring *kit, struct ouro__kit_cqe *out)
{
    struct io_uring_cqe *cqe = NULL;
    if (io_uring_peek_cqe(&kit->ring, &cqe) != 0 || cqe == NULL)
        return false;
    *out =
        (struct ouro__kit_cqe){.user_data = cqe->user_data, .res = cqe->res, .flags = cqe->flags};
    io_uring_cqe_seen(&kit->ring, cqe);
    /* As results, -EAGAIN and -ENOBUFS are answers: nothing to accept, no buffer provided. */
    if (out->res != -EAGAIN && out->res != -ENOBUFS && out->res != -EBUSY)
        (void)ouro__kit_note(kit, out->res);
    return true;
}

bool ouro__kit_has_cqe(const struct ouro__kit_ring *kit)
{
    return io_uring_cq_ready(&kit->ring) > 0;
}

void ouro__kit_drain_descriptors(struct ouro__kit_ring *kit, uint64_t user_data)
{
    struct ouro__kit_cqe cqe;
    /* Enters the kernel once, then takes what is in the ring. */
    bool taken = ouro__kit_wait(kit, 0, &cqe) == 0;
    while (taken) {
        if (cqe.user_data == user_data && cqe.res >= 0)
            (void)close(cqe.res);
        taken = take_cqe(kit, &cqe);
    }
}

void ouro__kit_drain(struct ouro__kit_ring *kit)
{
    struct ouro__kit_cqe cqe;
    while (take_cqe(kit, &cqe))
        continue;
}

int ouro__kit_wait(struct ouro__kit_ring *kit, int64_t timeout_ns, struct ouro__kit_cqe *out)
{
    /* After an obstacle nothing is certain to come. */
    const int64_t deadline_ns = ouro__kit_now_ns() + (kit->obstacle == 0 ? timeout_ns : 0);
    for (;;) {
        if (take_cqe(kit, out))
            return 0;
        int64_t left_ns = deadline_ns - ouro__kit_now_ns();
        if (left_ns < 0)
            left_ns = 0;
        struct __kernel_timespec ts = {.tv_sec = left_ns / INT64_C(1000000000),
                                       .tv_nsec = left_ns % INT64_C(1000000000)};
        struct ouro__getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uint64_t)(uintptr_t)&ts};
        int rc = io_uring_enter2((unsigned)kit->ring.ring_fd, 0, 1,
                                 IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (void *)&arg,
                                 sizeof(arg));
        if (take_cqe(kit, out))
            return 0;
        if (rc < 0 && rc != -EINTR)
            return ouro__kit_note(kit, rc);
        if (ouro__kit_now_ns() >= deadline_ns)
            return -ETIME;
    }
}

int ouro__kit_wait_for_nothing(struct ouro__kit_ring *kit, uint32_t flags, const void *arg,
                               size_t arg_size)
{
    int rc = 0;
    do {
        rc = io_uring_enter2((unsigned)kit->ring.ring_fd, 0, 1, IORING_ENTER_GETEVENTS | flags,
                             (void *)(uintptr_t)arg, arg_size);
    } while (rc == -EINTR);
    return ouro__kit_note(kit, rc);
}

/* -ETIME for what is certain to come: the process was stopped, or the machine is very busy; it does
 * not mean that the kernel lacks the feature. */
static void note_silence(struct ouro__kit_ring *kit, int rc)
{
    if (rc == -ETIME && kit->obstacle == 0)
        kit->obstacle = rc;
}

int ouro__kit_expect(struct ouro__kit_ring *kit, struct ouro__kit_cqe *out)
{
    int rc = ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, out);
    note_silence(kit, rc);
    return rc;
}

int ouro__kit_call(struct ouro__kit_ring *kit, uint64_t user_data, struct ouro__kit_cqe *out)
{
    const int64_t deadline_ns = ouro__kit_now_ns() + OURO__KIT_ANSWER_NS;
    int rc = ouro__kit_submit(kit);
    while (rc >= 0) {
        struct ouro__kit_cqe cqe;
        const int64_t left_ns = deadline_ns - ouro__kit_now_ns();
        if (left_ns < 0)
            rc = -ETIME;
        else
            rc = ouro__kit_wait(kit, left_ns, &cqe);
        if (rc == 0 && cqe.user_data == user_data) {
            *out = cqe;
            return 0;
        }
    }
    note_silence(kit, rc);
    return rc;
}

/* One round of cancelling; true when the ring then was silent. */
static bool cancel_and_drain(struct ouro__kit_ring *kit)
{
    const uint64_t own = UINT64_C(0xca11ca11);
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_ASYNC_CANCEL, -1, own);
    sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    struct ouro__kit_cqe cqe;
    if (ouro__kit_call(kit, own, &cqe) < 0)
        return true;
    if (cqe.res == -EINVAL) {
        /* Before 5.19: by user_data only.  The kit's users have 1 and 2 in flight at most. */
        for (uint64_t user_data = 1; user_data <= 2; user_data++) {
            ouro__kit_sqe(kit, IORING_OP_ASYNC_CANCEL, -1, own)->addr = user_data;
            if (ouro__kit_call(kit, own, &cqe) < 0)
                return true;
        }
    }
    for (int i = 0; i < KIT_DRAIN_MAX; i++)
        if (ouro__kit_wait(kit, 0, &cqe) < 0)
            return true;
    return false;
}

/* Bounded: a repeating timer that forgot its count can fire faster than it is reaped. */
void ouro__kit_cancel_all(struct ouro__kit_ring *kit)
{
    for (int round = 0; round < KIT_CANCEL_ROUNDS; round++)
        if (cancel_and_drain(kit))
            return;
}

int ouro__kit_pair(int type, int out_fds[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, out_fds) < 0)
        return -errno;
    return 0;
}

int ouro__kit_listen(int backlog, struct ouro__kit_listener *out)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    /* An address of the family alone makes Linux choose a free abstract name. */
    socklen_t addr_len = sizeof(addr);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr.sun_family)) < 0 ||
        listen(fd, backlog) < 0 || getsockname(fd, (struct sockaddr *)&addr, &addr_len) < 0 ||
        addr_len > sizeof(out->addr)) {
        int rc = errno != 0 ? -errno : -EINVAL;
        (void)close(fd);
        return rc;
    }
    out->fd = fd;
    out->addr_len = addr_len;
    memcpy(out->addr, &addr, addr_len);
    return 0;
}

bool ouro__kit_setup_takes(struct ouro__kit_ring *kit, uint32_t flags)
{
    struct io_uring_params params = {.flags = flags | IORING_SETUP_CLAMP};
    int fd = ouro__kit_note(kit, io_uring_setup(4, &params));
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

int ouro__kit_register(struct ouro__kit_ring *kit, uint32_t opcode, void *arg, uint32_t nr)
{
    return ouro__kit_note(kit, io_uring_register((unsigned)kit->ring.ring_fd, opcode, arg, nr));
}

void ouro__kit_shut(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

int ouro__kit_buffers_open(struct ouro__kit_ring *kit, uint16_t bgid, uint32_t buffer_size,
                           uint32_t buffer_count, uint16_t flags, struct ouro__kit_buffers *out)
{
    const size_t size = KIT_PAGE + (size_t)OURO__KIT_BUFFERS * KIT_BUFFER_MAX;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return ouro__kit_note(kit, -errno);
    struct ouro__buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)map,
                                .ring_entries = OURO__KIT_BUFFERS,
                                .bgid = bgid,
                                .flags = flags};
    int rc = ouro__kit_register(kit, IORING_REGISTER_PBUF_RING, &reg, 1);
    if (rc < 0) {
        (void)munmap(map, size);
        return rc;
    }
    *out = (struct ouro__kit_buffers){.ring = (struct io_uring_buf_ring *)map,
                                      .data = (uint8_t *)map + KIT_PAGE,
                                      .buffer_size = buffer_size,
                                      .bgid = bgid};
    for (uint32_t i = 0; i < buffer_count; i++)
        io_uring_buf_ring_add(out->ring, out->data + (size_t)i * buffer_size, buffer_size,
                              (unsigned short)i, (int)OURO__KIT_BUFFERS - 1, (int)i);
    io_uring_buf_ring_advance(out->ring, (int)buffer_count);
    return 0;
}

void ouro__kit_buffers_close(struct ouro__kit_ring *kit, struct ouro__kit_buffers *buffers)
{
    if (buffers->ring == NULL)
        return;
    struct ouro__buf_reg reg = {.bgid = buffers->bgid};
    (void)ouro__kit_register(kit, IORING_UNREGISTER_PBUF_RING, &reg, 1);
    (void)munmap(buffers->ring, KIT_PAGE + (size_t)OURO__KIT_BUFFERS * KIT_BUFFER_MAX);
    buffers->ring = NULL;
}
