/* SPDX-License-Identifier: MIT */
/*
 * Provided-buffer rings: registering, taking, running out, taking away.
 *
 * A receive that takes its buffer only when data is there lets a server hold ten thousand idle
 * connections in a few megabytes.  The assertions check the edge cases: no buffer left, no such
 * group, the group removed while a receive waits for data.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  data that found no buffer is still in the socket.
 */
#include "fixture/kt.h"

#include <fcntl.h>
#include <sys/mman.h>

enum {
    UD_RECV = 1,
    UD_OTHER = 2,
    UD_GIVE = 3,
    BGID = 5,
    HIGH_BGID = 64,
    ABSENT = 99,
    COUNT = 4,
    SIZE = 64
};

static struct io_uring_sqe *select_recv(struct kt *t, int fd, uint32_t len, uint16_t bgid,
                                        uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_prep_recv(t, fd, NULL, len, 0, user_data);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = bgid;
    return sqe;
}

static int register_group(struct kt *t, void *memory, uint32_t entries, uint16_t bgid)
{
    struct ouro__buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = entries, .bgid = bgid};
    return kt_register(&t->ring, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static int unregister_group(struct kt *t, uint16_t bgid)
{
    struct ouro__buf_reg reg = {.bgid = bgid};
    return kt_register(&t->ring, IORING_UNREGISTER_PBUF_RING, &reg, 1);
}

static void buffer_register(struct kt *t)
{
    void *memory = mmap(NULL, 65536 * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    KT_REQUIRE(t, memory != MAP_FAILED, "mmap");
    KT_EXPECT_RES(t, register_group(t, memory, 3, BGID), -EINVAL, "3 entries, no power of two");
    KT_EXPECT_RES(t, register_group(t, memory, 65536, BGID), -EINVAL, "65536 entries, too many");
    KT_EXPECT_RES(t, register_group(t, memory, 32768, BGID), 0, "32768 entries, the most");
    KT_EXPECT_RES(t, register_group(t, memory, 4, BGID), -EEXIST, "the same group again");
    KT_EXPECT_RES(t, unregister_group(t, BGID), 0, "unregistering the group");
    const int rc = unregister_group(t, BGID); /* -EINVAL on 6.1, whose low groups always exist */
    KT_EXPECT(t, rc == -ENOENT || rc == -EINVAL, "unregistering it again is refused (%d)", rc);
    KT_EXPECT_RES(t, register_group(t, memory, 4, BGID), 0, "registering it again");
}

static void buffer_order(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, 0, SIZE, 0);
    static const uint16_t order[] = {2, 0, 3, 1, 1, 3};
    for (int i = 0; i < 6; i++) {
        const char sent = (char)('a' + i);
        kt_buffers_give(&buffers, order[i]);
        kt_write(t, fds[0], &sent, 1);
        select_recv(t, fds[1], 0, BGID, UD_RECV);
        kt_submit(t, 1);
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_RES(t, cqe.res, 1, "receive %d", i);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER on receive %d", i);
        KT_EXPECT_EQ(t, kt_buffer_id(cqe), order[i], "buffer id of receive %d", i);
        KT_EXPECT_EQ(t, *kt_buffer(&buffers, order[i]), sent, "the byte in that buffer");
    }
}

/* Takes two of four buffers, twice, and the group away in between. */
static void register_again(struct kt *t, uint16_t bgid)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (int round = 0; round < 2; round++) {
        struct kt_buffers buffers;
        kt_buffers_open(t, &buffers, bgid, COUNT, COUNT, SIZE, 0);
        for (int i = 0; i < 2; i++) {
            kt_write(t, fds[0], "x", 1);
            select_recv(t, fds[1], 0, bgid, UD_RECV);
            kt_submit(t, 1);
            const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
            KT_EXPECT_RES(t, cqe.res, 1, "round %d, receive %d", round, i);
            KT_EXPECT_EQ(t, kt_buffer_id(cqe), i, "its buffer's id, round %d", round);
        }
        KT_EXPECT_RES(t, unregister_group(t, bgid), 0, "unregistering, round %d", round);
    }
}

static void buffer_again(struct kt *t)
{
    register_again(t, HIGH_BGID);
}

static void buffer_again_low(struct kt *t)
{
    register_again(t, BGID);
}

static void buffer_len(struct kt *t)
{
    int fds[2];
    char data[3 * SIZE] = {0};
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    kt_write(t, fds[0], data, sizeof(data));
    select_recv(t, fds[1], 10, BGID, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 10, "receive with len 10");
    select_recv(t, fds[1], 0, BGID, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, SIZE, "receive with len 0: the buffer's size");
    select_recv(t, fds[1], 10 * SIZE, BGID, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, SIZE, "receive with len above the buffer's");
}

/* A waiting receive holds no buffer: with one buffer two receives wait, and the first to have data
 * gets it. */
static void buffer_late(struct kt *t)
{
    int a[2];
    int b[2];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, a);
    kt_unix_pair(t, SOCK_STREAM, b);
    kt_buffers_open(t, &buffers, BGID, 1, 1, SIZE, 0);
    select_recv(t, a[1], 0, BGID, UD_RECV);
    select_recv(t, b[1], 0, BGID, UD_OTHER);
    kt_submit(t, 2);
    kt_expect_silence(t, 5, "two receives without data, one buffer");
    kt_write(t, b[0], "b", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OTHER).res, 1, "the receive that had data first");
    KT_EXPECT_EQ(t, *kt_buffer(&buffers, 0), 'b', "the byte in the buffer");
    kt_buffers_give(&buffers, 0);
    kt_write(t, a[0], "a", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the other one");
    KT_EXPECT_EQ(t, *kt_buffer(&buffers, 0), 'a', "the byte in the buffer, given back");
}

/* A single receive with no buffer left. */
static void buffer_dry(struct kt *t)
{
    int fds[2];
    char byte = 0;
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, 0, SIZE, 0);
    kt_write(t, fds[0], "ab", 2);
    select_recv(t, fds[1], 0, BGID, UD_RECV);
    kt_submit(t, 1);
    struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, -ENOBUFS, "a receive that finds data and no buffer");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 0, "F_BUFFER on -ENOBUFS");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], &byte, 1), 1, "a byte, left in the socket");
    KT_EXPECT_EQ(t, byte, 'a', "that byte");
    kt_buffers_give(&buffers, 3);
    select_recv(t, fds[1], 0, BGID, UD_RECV);
    kt_submit(t, 1);
    cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, 1, "the receive after a buffer was given");
    KT_EXPECT_EQ(t, kt_buffer_id(cqe), 3, "its buffer's id");
    KT_EXPECT_EQ(t, *kt_buffer(&buffers, 3), 'b', "the byte in that buffer");
}

/* A receive that brings nothing gives its buffer back, or names it: here it is given back then. */
static void expect_nothing(struct kt *t, struct kt_buffers *buffers, int expected, const char *what)
{
    const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, expected, "%s", what);
    if (KT_HAS(cqe, IORING_CQE_F_BUFFER) != 0)
        kt_buffers_give(buffers, kt_buffer_id(cqe));
}

static void buffer_kept(struct kt *t)
{
    int fds[2];
    int other[2];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, other);
    kt_buffers_open(t, &buffers, BGID, COUNT, 1, SIZE, 0);
    for (int i = 0; i < 3; i++) {
        kt_tcp_pair(t, fds);
        select_recv(t, fds[1], 0, BGID, UD_RECV);
        kt_submit(t, 1);
        if (i == 0) {
            KT_SYS(t, shutdown(fds[0], SHUT_WR));
            expect_nothing(t, &buffers, 0, "the end of the stream");
        } else if (i == 1) {
            kt_reset(t, fds[0]);
            expect_nothing(t, &buffers, -ECONNRESET, "a reset");
        } else {
            kt_prep_cancel(t, UD_RECV, 0, UD_GIVE);
            kt_submit(t, 1);
            expect_nothing(t, &buffers, -ECANCELED, "a cancelled receive");
            KT_EXPECT_RES(t, kt_wait_for(t, UD_GIVE).res, 0, "the cancellation");
        }
        kt_write(t, other[0], "x", 1);
        select_recv(t, other[1], 0, BGID, UD_OTHER);
        kt_submit(t, 1);
        const struct kt_cqe cqe = kt_wait_for(t, UD_OTHER);
        KT_EXPECT_RES(t, cqe.res, 1, "a receive into the one buffer afterwards");
        kt_buffers_give(&buffers, 0);
    }
}

static void buffer_unregister_armed(struct kt *t)
{
    int fds[2];
    char bytes[2] = {0};
    struct kt_buffers buffers;
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    kt_write(t, fds[0], "1", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the first byte");
    KT_EXPECT_RES(t, unregister_group(t, BGID), 0, "unregistering the group");
    kt_write(t, fds[0], "2", 1);
    cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, -ENOBUFS, "data for a receive whose group is gone");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on -ENOBUFS");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], bytes, 1), 1, "the byte, left in the socket");
    KT_EXPECT_EQ(t, bytes[0], '2', "that byte");
}

static int status_of(struct kt *t, uint16_t bgid, uint32_t *out_head)
{
    struct ouro__buf_status status = {.buf_group = bgid};
    const int rc = kt_register(&t->ring, OURO__REGISTER_PBUF_STATUS, &status, 1);
    *out_head = status.head;
    return rc;
}

static void buffer_status(struct kt *t)
{
    int fds[2];
    uint32_t head = 0;
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    KT_EXPECT_RES(t, status_of(t, ABSENT, &head), -ENOENT, "status of an absent group");
    KT_EXPECT_RES(t, status_of(t, BGID, &head), 0, "status of the group");
    KT_EXPECT_EQ(t, head, 0, "buffers consumed before any receive");
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    for (uint32_t i = 1; i <= 10; i++) {
        kt_write(t, fds[0], "x", 1);
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_RES(t, cqe.res, 1, "receive %u", i);
        KT_EXPECT_RES(t, status_of(t, BGID, &head), 0, "status after receive %u", i);
        KT_EXPECT_EQ(t, head, i, "buffers consumed after receive %u", i);
        kt_buffers_give(&buffers, kt_buffer_id(cqe));
    }
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 0, "end of stream");
    KT_EXPECT_RES(t, status_of(t, BGID, &head), 0, "status at the end");
    KT_EXPECT_EQ(t, head, 10, "buffers consumed at the end: end of stream takes none");
}

static void buffer_mmap(struct kt *t)
{
    int fds[2];
    static uint8_t data[SIZE];
    struct ouro__buf_reg reg = {.ring_entries = 8, .bgid = BGID, .flags = OURO__PBUF_RING_MMAP};
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_PBUF_RING, &reg, 1), 0,
                  "registering a ring in the kernel's memory");
    const off_t at = (off_t)(OURO__OFF_PBUF_RING | (uint64_t)BGID << OURO__OFF_PBUF_SHIFT);
    struct io_uring_buf_ring *ring =
        mmap(NULL, 8 * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_POPULATE, t->ring.ring.ring_fd, at);
    KT_EXPECT_EQ(t, ring == MAP_FAILED ? errno : 0, 0, "errno of mmap(2) of that ring");
    ring->tail = 0;
    io_uring_buf_ring_add(ring, data, SIZE, 7, 7, 0);
    io_uring_buf_ring_advance(ring, 1);
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_write(t, fds[0], "m", 1);
    select_recv(t, fds[1], 0, BGID, UD_RECV);
    kt_submit(t, 1);
    const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, 1, "receive from that ring");
    KT_EXPECT_EQ(t, kt_buffer_id(cqe), 7, "buffer id");
    KT_EXPECT_EQ(t, data[0], 'm', "the byte");
}

static void buffer_legacy(struct kt *t)
{
    int fds[2];
    static uint8_t data[COUNT][SIZE];
    kt_unix_pair(t, SOCK_STREAM, fds);
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_PROVIDE_BUFFERS, COUNT, UD_GIVE);
    sqe->addr = (uint64_t)(uintptr_t)data;
    sqe->len = SIZE;
    sqe->off = 10; /* the first id */
    sqe->buf_group = BGID;
    kt_submit(t, 1);
    KT_EXPECT_GE(t, kt_wait_for(t, UD_GIVE).res, 0, "PROVIDE_BUFFERS");
    kt_write(t, fds[0], "p", 1);
    select_recv(t, fds[1], 0, BGID, UD_RECV)->len = SIZE;
    kt_submit(t, 1);
    const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, 1, "receive into a provided buffer");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER");
    const int id = kt_buffer_id(cqe);
    KT_EXPECT(t, id >= 10 && id < 10 + COUNT, "buffer id %d is one of those given", id);
    KT_EXPECT_EQ(t, data[(id - 10) & (COUNT - 1)][0], 'p', "the byte in that buffer");
    kt_sqe(t, IORING_OP_REMOVE_BUFFERS, 100, UD_GIVE)->buf_group = BGID;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_GIVE).res, COUNT - 1, "REMOVE_BUFFERS of up to 100");
}

static void read_multishot(struct kt *t)
{
    int pipe_fds[2];
    struct kt_buffers buffers;
    KT_SYS(t, pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK));
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    struct io_uring_sqe *sqe = kt_sqe(t, OURO__OP_READ_MULTISHOT, pipe_fds[0], UD_RECV);
    sqe->off = UINT64_MAX;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
    kt_submit(t, 1);
    for (int i = 0; i < 3 * COUNT; i++) {
        const char sent = (char)('a' + i);
        KT_SYS(t, write(pipe_fds[1], &sent, 1));
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_RES(t, cqe.res, 1, "read %d", i);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on read %d", i);
        KT_EXPECT_EQ(t, *kt_buffer(&buffers, kt_buffer_id(cqe)), sent, "the byte of read %d", i);
        kt_buffers_give(&buffers, kt_buffer_id(cqe));
    }
    KT_SYS(t, close(pipe_fds[1]));
    const struct kt_cqe end = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, end.res, 0, "the writer's end");
    KT_EXPECT_EQ(t, KT_HAS(end, IORING_CQE_F_MORE), 0, "F_MORE at the end");
}

#define BUFFER_ENTRY                                                                               \
    .source = "io_uring_register_buf_ring(3)", .since = "5.19",                                    \
    .absence = "Before 5.19 registering gives -EINVAL; once registered it must work.",             \
    .needs = KT_NEEDS(PBUF_RING), .rings = KT_ON_BOTH

static const struct kt_assertion assertions[] = {
    {
        .id = "buffer.register",
        .sentence = "A buffer ring has a power of two of at most 32768 entries; its group can be "
                    "registered once (-EEXIST) and unregistered once.",
        BUFFER_ENTRY,
        .impact = "Two parts of a program share a group without knowing.",
        .avoid = "Number buffer groups in one place.",
        .run = buffer_register,
    },
    {
        .id = "buffer.order",
        .sentence = "Buffers are taken in the order in which they were given, by their own ids.",
        BUFFER_ENTRY,
        .impact = "The program reads from another buffer than the kernel wrote to.",
        .avoid = "Receive into own memory.",
        .run = buffer_order,
    },
    {
        .id = "buffer.again",
        .sentence = "A group numbered 64 or above that is registered again begins at the first "
                    "buffer of its new ring.",
        BUFFER_ENTRY,
        .impact = "Receives use entries of the ring that nobody has written.",
        .avoid = "Keep a group registered as long as its ring lives.",
        .run = buffer_again,
    },
    {
        .id = "buffer.again-low",
        .sentence = "A group numbered below 64 that is registered again begins at the first "
                    "buffer of its new ring.",
        BUFFER_ENTRY,
        .impact = "Receives use entries of the ring that nobody has written.",
        .avoid = "Number groups from 64 on where a group is registered again.",
        .broken = "5.19 to 6.9",
        .run = buffer_again_low,
    },
    {
        .id = "buffer.len",
        .sentence = "The length of a receive limits what goes into a selected buffer; 0 and more "
                    "than its size both mean its size.",
        BUFFER_ENTRY,
        .impact = "The kernel writes past what the program expects.",
        .avoid = "Receive into own memory.",
        .run = buffer_len,
    },
    {
        .id = "buffer.late",
        .sentence = "A receive that waits holds no buffer: it takes one when data is there.",
        BUFFER_ENTRY,
        .impact = "Idle connections use up the buffers of busy ones.",
        .avoid = "Poll for readability and receive then.",
        .run = buffer_late,
    },
    {
        .id = "buffer.dry",
        .sentence = "A single receive that finds data and no buffer ends with -ENOBUFS; the data "
                    "stays in the socket, and a receive after a buffer was given brings it.",
        BUFFER_ENTRY,
        .impact = "A server that is short of buffers loses data, or waits for ever.",
        .avoid = "Receive into own memory.",
        .run = buffer_dry,
    },
    {
        .id = "buffer.kept",
        .sentence = "A single receive that ends without data leaves its buffer in the ring, or "
                    "names it in its CQE.",
        BUFFER_ENTRY,
        .impact = "Each end of a connection takes a buffer away, until none is left.",
        .avoid = "Poll for readability, and receive into own memory then.",
        .guards = "liburing #1530: a buffer named by a receive that failed",
        .run = buffer_kept,
    },
    {
        .id = "buffer.unregister-armed",
        .sentence =
            "A multishot receive whose group is unregistered ends with -ENOBUFS at the next "
            "data, which stays in the socket.",
        BUFFER_ENTRY,
        .impact = "The kernel writes into memory that was given back.",
        .avoid = "Cancel the receives of a group before it is unregistered.",
        .run = buffer_unregister_armed,
    },
    {
        .id = "buffer.status",
        .alias = "K039",
        .sentence = "PBUF_STATUS tells how many buffers the kernel has consumed.",
        .source = "io_uring_buf_ring_head(3)",
        .since = "6.8",
        .absence = "-EINVAL before 6.8; once accepted, a wrong count is breakage.",
        .impact = "Buffers leak and nobody can tell.",
        .avoid = "Keep your own account of buffers.",
        .guards = "liburing #778: a buffer consumed with each racing wake-up",
        .needs = KT_NEEDS(PBUF_STATUS) | KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = buffer_status,
    },
    {
        .id = "buffer.mmap",
        .sentence = "A buffer ring in the kernel's memory can be mapped and used.",
        .source = "io_uring_register_buf_ring(3), IOU_PBUF_RING_MMAP",
        .since = "6.4",
        .absence = "-EINVAL before 6.4; once registered it must be mappable.",
        .impact = "Receives find no buffers.",
        .avoid = "Give the ring's memory yourself.",
        .needs = KT_NEEDS(PBUF_MMAP),
        .rings = KT_ON_BOTH,
        .run = buffer_mmap,
    },
    {
        .id = "buffer.legacy",
        .sentence = "PROVIDE_BUFFERS gives buffers to a receive, and REMOVE_BUFFERS takes the rest "
                    "back and counts them.",
        .source = "io_uring_prep_provide_buffers(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.7; another result is breakage.",
        .impact = "Programs of before buffer rings lose data.",
        .avoid = "Use buffer rings, or own memory.",
        .rings = KT_ON_BOTH,
        .run = buffer_legacy,
    },
    {
        .id = "read.multishot",
        .sentence = "One multishot READ of a pipe delivers every write into selected buffers until "
                    "the writer closes.",
        .source = "io_uring_prep_read_multishot(3)",
        .since = "6.7",
        .absence = "Not in the probe before 6.7; once listed it must work.",
        .impact = "Wake-ups through a pipe or eventfd are lost.",
        .avoid = "Arm a single READ again after each.",
        .needs = KT_NEEDS(READ_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = read_multishot,
    },
};

const struct kt_area kt_area_buffer = KT_AREA("provided buffers", assertions);
