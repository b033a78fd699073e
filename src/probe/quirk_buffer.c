/* SPDX-License-Identifier: MIT */
/*
 * Incremental buffer rings: does the kernel keep the parts of one buffer apart?
 *
 * With IOU_PBUF_RING_INC several receives share a buffer, and each gets the part after the last
 * one.  Two bugs make the kernel hand out a part twice, or skip one; a reader then sees another
 * connection's bytes.  The tests fill parts with letters and look at which place each letter is.
 *
 * Owns:    sockets and buffers, until each test returns.
 * Threads: the caller's.
 * Always:  nothing is in flight when the buffers are unmapped.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/quirk_test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UD_FIRST = 1, UD_SECOND = 2, BGID = 11, BUFFER = 1024, PART = 50 };

struct fixture {
    int a[2];
    int b[2];
    struct ouro__kit_buffers buffers;
};

static int fixture_open(struct ouro__kit_ring *kit, int type, struct fixture *out)
{
    *out = (struct fixture){.a = {-1, -1}, .b = {-1, -1}};
    int rc = ouro__kit_buffers_open(kit, BGID, BUFFER, 1, OURO__PBUF_RING_INC, &out->buffers);
    if (rc == 0)
        rc = ouro__kit_pair(type, out->a);
    if (rc == 0)
        rc = ouro__kit_pair(type, out->b);
    return rc;
}

static void fixture_close(struct ouro__kit_ring *kit, struct fixture *fixture)
{
    ouro__kit_cancel_all(kit);
    for (int i = 0; i < 2; i++) {
        ouro__kit_shut(&fixture->a[i]);
        ouro__kit_shut(&fixture->b[i]);
    }
    ouro__kit_buffers_close(kit, &fixture->buffers);
}

static void queue_recv(struct ouro__kit_ring *kit, int fd, uint32_t len, int flags,
                       uint64_t user_data)
{
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fd, user_data);
    sqe->len = len;
    sqe->msg_flags = (uint32_t)flags;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
}

static int put_letters(int fd, char letter, size_t count)
{
    char letters[PART * 6];
    memset(letters, letter, sizeof(letters));
    return send(fd, letters, count, MSG_NOSIGNAL) == (ssize_t)count ? 0 : -EIO;
}

/* How many of @letter the buffer holds. */
static int count_letters(const struct fixture *fixture, char letter)
{
    int count = 0;
    for (int i = 0; i < BUFFER; i++)
        count += fixture->buffers.data[i] == (uint8_t)letter;
    return count;
}

/* A's receive waits for twice what it has; B's takes the buffer meanwhile; then A gets the rest. */
int ouro__quirk_test_inc_waitall(struct ouro__kit_ring *kit)
{
    struct fixture fixture;
    struct ouro__kit_cqe cqe = {0};
    int rc = fixture_open(kit, SOCK_STREAM, &fixture);
    if (rc == 0)
        rc = put_letters(fixture.a[0], 'a', PART);
    if (rc == 0) {
        queue_recv(kit, fixture.a[1], 2 * PART, MSG_WAITALL, UD_FIRST);
        (void)ouro__kit_submit(kit);
        queue_recv(kit, fixture.b[1], PART, 0, UD_SECOND);
        rc = put_letters(fixture.b[0], 'b', PART);
    }
    if (rc == 0)
        rc = ouro__kit_call(kit, UD_SECOND, &cqe);
    if (rc == 0 && cqe.res != PART)
        rc = -EIO;
    if (rc == 0)
        rc = put_letters(fixture.a[0], 'a', PART);
    if (rc == 0) {
        /* Healthy kernels may have ended A short before B, so nothing more need come. */
        (void)ouro__kit_wait(kit, OURO__KIT_NS_PER_MS / 10, &cqe);
        rc = count_letters(&fixture, 'b') == PART ? 0 : 1;
    }
    fixture_close(kit, &fixture);
    return rc;
}

/* A long datagram into a short receive, then a short one: it must lie right behind. */
int ouro__quirk_test_inc_trunc(struct ouro__kit_ring *kit)
{
    struct fixture fixture;
    struct ouro__kit_cqe cqe = {0};
    int rc = fixture_open(kit, SOCK_DGRAM, &fixture);
    if (rc == 0)
        rc = put_letters(fixture.a[0], 'a', 3 * PART);
    if (rc == 0)
        rc = put_letters(fixture.a[0], 'z', PART);
    if (rc == 0) {
        queue_recv(kit, fixture.a[1], PART, MSG_TRUNC, UD_FIRST);
        rc = ouro__kit_call(kit, UD_FIRST, &cqe);
    }
    if (rc == 0 && cqe.res < PART)
        rc = -EIO;
    if (rc == 0) {
        queue_recv(kit, fixture.a[1], PART, 0, UD_SECOND);
        rc = ouro__kit_call(kit, UD_SECOND, &cqe);
    }
    if (rc == 0 && cqe.res != PART)
        rc = -EIO;
    if (rc == 0)
        rc = fixture.buffers.data[PART] == 'z' ? 0 : 1;
    fixture_close(kit, &fixture);
    return rc;
}

/* After a part was used, end of stream: if it names the buffer, then as one with room left. */
int ouro__quirk_test_inc_eof(struct ouro__kit_ring *kit)
{
    struct fixture fixture;
    struct ouro__kit_cqe cqe = {0};
    int rc = fixture_open(kit, SOCK_STREAM, &fixture);
    if (rc == 0) {
        struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fixture.a[1], UD_FIRST);
        sqe->ioprio = IORING_RECV_MULTISHOT;
        sqe->flags = IOSQE_BUFFER_SELECT;
        sqe->buf_group = BGID;
        rc = put_letters(fixture.a[0], 'a', PART);
    }
    if (rc == 0)
        rc = ouro__kit_call(kit, UD_FIRST, &cqe);
    if (rc == 0 && cqe.res != PART)
        rc = -EIO;
    if (rc == 0) {
        ouro__kit_shut(&fixture.a[0]);
        rc = ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe);
    }
    if (rc == 0 && cqe.res != 0)
        rc = -EIO;
    if (rc == 0)
        rc = (cqe.flags & IORING_CQE_F_BUFFER) != 0 && (cqe.flags & OURO__CQE_F_BUF_MORE) == 0;
    fixture_close(kit, &fixture);
    return rc;
}
