/* SPDX-License-Identifier: MIT */
/*
 * Rings for assertions: SQEs that always carry a user_data, and waits that always end.
 *
 * SQEs are zeroed and filled by hand where it matters, because liburing's helpers of several
 * versions leave user_data as it was.  Waiting is one enter with a timeout in it, so that a DEFER
 * ring runs its work and a lost completion is a verdict, not a hang.
 *
 * Owns:    nothing that outlives the process.
 * Threads: a ring belongs to the thread that opened it; the list of set-aside CQEs to the first.
 * Always:  a CQE is given out once.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <signal.h>
#include <sys/mman.h>

enum { ASIDE_MAX = 4096 };

/* CQEs that came while another was waited for. */
static struct kt_cqe aside[ASIDE_MAX];
static int aside_count;

uint32_t kt_ring_flags(enum kt_ring_kind kind)
{
    return kind == KT_RING_DEFER ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN : 0;
}

int kt_ring_try(struct kt *t, struct kt_ring *ring, uint32_t entries, uint32_t cq_entries,
                uint32_t setup_flags)
{
    (void)t;
    int rc = -ENOMEM;
    /* Rings of processes that have just ended are torn down later: ENOMEM may pass. */
    for (int attempt = 0; attempt < 6 && rc == -ENOMEM; attempt++) {
        memset(ring, 0, sizeof(*ring));
        ring->params.flags = setup_flags;
        if (cq_entries != 0) {
            ring->params.flags |= IORING_SETUP_CQSIZE;
            ring->params.cq_entries = cq_entries;
        }
        rc = io_uring_queue_init_params(entries, &ring->ring, &ring->params);
        if (rc == -ENOMEM)
            (void)poll(NULL, 0, 1 << attempt);
    }
    return rc;
}

void kt_ring_open(struct kt *t, struct kt_ring *ring, uint32_t entries, uint32_t cq_entries,
                  uint32_t setup_flags)
{
    const int rc = kt_ring_try(t, ring, entries, cq_entries, setup_flags);
    char name[48];
    kt_result_name(rc, name, sizeof(name));
    KT_REQUIRE(t, rc >= 0, "io_uring_setup(%u, flags 0x%x): %s", entries, setup_flags, name);
}

void kt_ring_close(struct kt_ring *ring)
{
    io_uring_queue_exit(&ring->ring);
    memset(ring, 0, sizeof(*ring));
}

int kt_register(struct kt_ring *ring, uint32_t opcode, const void *arg, uint32_t nr)
{
    return io_uring_register((unsigned)ring->ring.ring_fd, opcode, arg, nr);
}

struct io_uring_sqe *kt_sqe_on(struct kt *t, struct kt_ring *ring, uint8_t opcode, int fd,
                               uint64_t user_data)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    KT_REQUIRE(t, sqe != NULL, "the submission queue is full: submit first");
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = user_data;
    return sqe;
}

struct io_uring_sqe *kt_sqe(struct kt *t, uint8_t opcode, int fd, uint64_t user_data)
{
    return kt_sqe_on(t, &t->ring, opcode, fd, user_data);
}

static struct io_uring_sqe *sqe_with_buffer(struct kt *t, uint8_t opcode, int fd, const void *addr,
                                            uint32_t len, uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, opcode, fd, user_data);
    sqe->addr = (uint64_t)(uintptr_t)addr;
    sqe->len = len;
    return sqe;
}

struct io_uring_sqe *kt_prep_connect(struct kt *t, int fd, const void *addr, socklen_t addr_len,
                                     uint64_t user_data)
{
    struct io_uring_sqe *sqe = sqe_with_buffer(t, IORING_OP_CONNECT, fd, addr, 0, user_data);
    sqe->off = addr_len;
    return sqe;
}

struct io_uring_sqe *kt_prep_accept(struct kt *t, int fd, uint16_t ioprio, uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_ACCEPT, fd, user_data);
    sqe->ioprio = ioprio;
    sqe->accept_flags = SOCK_CLOEXEC;
    return sqe;
}

struct io_uring_sqe *kt_prep_recv(struct kt *t, int fd, void *buffer, uint32_t len, int msg_flags,
                                  uint64_t user_data)
{
    struct io_uring_sqe *sqe = sqe_with_buffer(t, IORING_OP_RECV, fd, buffer, len, user_data);
    sqe->msg_flags = (uint32_t)msg_flags;
    return sqe;
}

struct io_uring_sqe *kt_prep_recv_multishot(struct kt *t, int fd, uint16_t bgid, uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_RECV, fd, user_data);
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = bgid;
    return sqe;
}

struct io_uring_sqe *kt_prep_send(struct kt *t, int fd, const void *buffer, uint32_t len,
                                  int msg_flags, uint64_t user_data)
{
    struct io_uring_sqe *sqe = sqe_with_buffer(t, IORING_OP_SEND, fd, buffer, len, user_data);
    sqe->msg_flags = (uint32_t)msg_flags;
    return sqe;
}

struct io_uring_sqe *kt_prep_cancel(struct kt *t, uint64_t target, uint32_t flags,
                                    uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_ASYNC_CANCEL, -1, user_data);
    sqe->addr = target;
    sqe->cancel_flags = flags;
    return sqe;
}

struct io_uring_sqe *kt_prep_timeout(struct kt *t, const struct __kernel_timespec *ts,
                                     uint32_t count, uint32_t flags, uint64_t user_data)
{
    struct io_uring_sqe *sqe = sqe_with_buffer(t, IORING_OP_TIMEOUT, -1, ts, 1, user_data);
    sqe->off = count;
    sqe->timeout_flags = flags;
    return sqe;
}

struct io_uring_sqe *kt_prep_link_timeout(struct kt *t, const struct __kernel_timespec *ts,
                                          uint64_t user_data)
{
    return sqe_with_buffer(t, IORING_OP_LINK_TIMEOUT, -1, ts, 1, user_data);
}

struct io_uring_sqe *kt_prep_poll(struct kt *t, int fd, uint32_t events, bool multishot,
                                  uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_POLL_ADD, fd, user_data);
    sqe->len = multishot ? IORING_POLL_ADD_MULTI : 0;
#if __BYTE_ORDER == __BIG_ENDIAN
    events = (events >> 16) | (events << 16);
#endif
    sqe->poll32_events = events;
    return sqe;
}

int kt_try_submit_on(struct kt_ring *ring)
{
    int rc = 0;
    do {
        rc = io_uring_submit(&ring->ring);
    } while (rc == -EINTR);
    return rc;
}

int kt_try_submit(struct kt *t)
{
    return kt_try_submit_on(&t->ring);
}

void kt_submit(struct kt *t, int expected)
{
    const int rc = kt_try_submit(t);
    char name[48];
    kt_result_name(rc, name, sizeof(name));
    KT_REQUIRE(t, rc == expected, "io_uring_submit() took %s, not %d", name, expected);
}

static bool take(struct kt_ring *ring, struct kt_cqe *out)
{
    struct io_uring_cqe *cqe = NULL;
    if (io_uring_peek_cqe(&ring->ring, &cqe) != 0 || cqe == NULL)
        return false;
    *out = (struct kt_cqe){.user_data = cqe->user_data, .res = cqe->res, .flags = cqe->flags};
    io_uring_cqe_seen(&ring->ring, cqe);
    return true;
}

/* One enter that waits until @deadline_ns; without EXT_ARG (before 5.11) a short sleep instead. */
static void enter_until(struct kt_ring *ring, int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - kt_now_ns();
    if (left_ns < 0)
        left_ns = 0;
    if ((ring->params.features & IORING_FEAT_EXT_ARG) == 0) {
        (void)io_uring_enter((unsigned)ring->ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
        if (left_ns > 0)
            (void)poll(NULL, 0, 1);
        return;
    }
    struct __kernel_timespec ts = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    struct ouro__getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uint64_t)(uintptr_t)&ts};
    (void)io_uring_enter2((unsigned)ring->ring.ring_fd, 0, left_ns > 0 ? 1 : 0,
                          IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (void *)&arg, sizeof(arg));
}

bool kt_try_wait_on(struct kt_ring *ring, int timeout_ms, struct kt_cqe *out)
{
    const int64_t deadline_ns = kt_now_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        if (take(ring, out))
            return true;
        enter_until(ring, deadline_ns);
        if (take(ring, out))
            return true;
        if (kt_now_ns() >= deadline_ns)
            return false;
    }
}

bool kt_try_wait(struct kt *t, int timeout_ms, struct kt_cqe *out)
{
    if (aside_count > 0) {
        *out = aside[0];
        aside_count--;
        memmove(&aside[0], &aside[1], (size_t)aside_count * sizeof(aside[0]));
        return true;
    }
    return kt_try_wait_on(&t->ring, timeout_ms, out);
}

bool kt_try_wait_for(struct kt *t, uint64_t user_data, int timeout_ms, struct kt_cqe *out)
{
    for (int i = 0; i < aside_count; i++) {
        if (aside[i].user_data != user_data)
            continue;
        *out = aside[i];
        aside_count--;
        memmove(&aside[i], &aside[i + 1], (size_t)(aside_count - i) * sizeof(aside[0]));
        return true;
    }
    const int64_t deadline_ns = kt_now_ns() + (int64_t)timeout_ms * 1000000;
    do {
        struct kt_cqe cqe;
        const int64_t left_ns = deadline_ns - kt_now_ns();
        const int left_ms = left_ns > 0 ? (int)((left_ns + 999999) / 1000000) : 0;
        if (!kt_try_wait_on(&t->ring, left_ms, &cqe))
            break;
        if (cqe.user_data == user_data) {
            *out = cqe;
            return true;
        }
        KT_REQUIRE(t, aside_count < ASIDE_MAX, "%d completions nobody waits for", aside_count);
        aside[aside_count++] = cqe;
    } while (kt_now_ns() <= deadline_ns);
    return false;
}

struct kt_cqe kt_wait(struct kt *t)
{
    struct kt_cqe cqe = {0};
    kt_step(t, "waiting for a completion");
    if (!kt_try_wait(t, KT_WAIT_MS * t->slack, &cqe))
        kt_end(t, KT_FAIL, __FILE__, __LINE__, "no completion came in %d ms",
               KT_WAIT_MS * t->slack);
    return cqe;
}

struct kt_cqe kt_wait_for(struct kt *t, uint64_t user_data)
{
    struct kt_cqe cqe = {0};
    kt_step(t, "waiting for the completion of request %llu", (unsigned long long)user_data);
    if (!kt_try_wait_for(t, user_data, KT_WAIT_MS * t->slack, &cqe))
        kt_end(t, KT_FAIL, __FILE__, __LINE__,
               "request %llu did not complete in %d ms (%d other completions came)",
               (unsigned long long)user_data, KT_WAIT_MS * t->slack, aside_count);
    return cqe;
}

void kt_expect_silence(struct kt *t, int ms, const char *what)
{
    struct kt_cqe cqe = {0};
    const bool came = kt_try_wait(t, ms, &cqe);
    char name[48];
    kt_result_name(cqe.res, name, sizeof(name));
    KT_EXPECT_EQ(t, came, 0, "%s: completions within %d ms (request %llu, result %s)", what, ms,
                 (unsigned long long)cqe.user_data, came ? name : "none");
}

void kt_need_op(struct kt *t, uint32_t op)
{
    if ((t->report->op_supported[op / 64] >> (op % 64) & 1) == 0)
        KT_ABSENT(t, "the probe does not list opcode %u", op);
}

int kt_buffers_try(struct kt *t, struct kt_ring *ring, struct kt_buffers *buffers, uint16_t bgid,
                   uint32_t count, uint32_t filled, uint32_t size, uint16_t flags)
{
    const size_t ring_bytes = (count * sizeof(struct io_uring_buf) + 4095) / 4096 * 4096;
    uint8_t *map = mmap(NULL, ring_bytes + (size_t)count * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    KT_REQUIRE(t, map != MAP_FAILED, "mmap of %u buffers", count);
    struct ouro__buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)map, .ring_entries = count, .bgid = bgid, .flags = flags};
    const int rc = kt_register(ring, IORING_REGISTER_PBUF_RING, &reg, 1);
    if (rc < 0) {
        (void)munmap(map, ring_bytes + (size_t)count * size);
        return rc;
    }
    *buffers = (struct kt_buffers){.ring = (struct io_uring_buf_ring *)(void *)map,
                                   .data = map + ring_bytes,
                                   .size = size,
                                   .count = count,
                                   .bgid = bgid};
    for (uint32_t i = 0; i < filled; i++)
        kt_buffers_give(buffers, (uint16_t)i);
    return 0;
}

void kt_buffers_open(struct kt *t, struct kt_buffers *buffers, uint16_t bgid, uint32_t count,
                     uint32_t filled, uint32_t size, uint16_t flags)
{
    const int rc = kt_buffers_try(t, &t->ring, buffers, bgid, count, filled, size, flags);
    char name[48];
    kt_result_name(rc, name, sizeof(name));
    KT_REQUIRE(t, rc == 0, "registering a buffer ring of %u, flags %u: %s", count, flags, name);
}

void kt_buffers_give(struct kt_buffers *buffers, uint16_t bid)
{
    io_uring_buf_ring_add(buffers->ring, kt_buffer(buffers, bid), buffers->size, bid,
                          (int)buffers->count - 1, 0);
    io_uring_buf_ring_advance(buffers->ring, 1);
}
