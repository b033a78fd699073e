/* SPDX-License-Identifier: MIT */
/*
 * A small ring and a few fixtures for feature detection and the quirk self-tests.  They use no heap
 * and no threads and keep no state outside the structs here; each close releases everything.
 */
#ifndef OURO_PROBE_FEATURE_KIT_H
#define OURO_PROBE_FEATURE_KIT_H

#include "probe/abi.h"
#include "probe/feature.h"

#define OURO__KIT_NS_PER_MS INT64_C(1000000)
#define OURO__KIT_ANSWER_NS (200 * OURO__KIT_NS_PER_MS) /* limit for what must come */
#define OURO__KIT_SOON_NS 1000                          /* limit for what must not come */
#define OURO__KIT_DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

struct ouro__kit_ring {
    struct io_uring ring;
    struct io_uring_params params;
    struct io_uring_sqe spare; /* handed out when the ring is full: filled, never submitted */
    int obstacle;              /* the first error since this was 0 that is due to this process */
};

struct ouro__kit_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

int64_t ouro__kit_now_ns(void);

/* Whether @rc is due to this process and not to the kernel's features: the process is out of
 * something (memory, descriptors), or may not do it. */
bool ouro__kit_is_obstacle(int rc);

/*
 * Remembers @rc in kit->obstacle when it is one, and returns it.  The calls below do it for what
 * they return; callers do it for their own system calls.
 */
int ouro__kit_note(struct ouro__kit_ring *kit, int rc);

/* Whether io_uring_setup() takes these flags. */
bool ouro__kit_setup_takes(struct ouro__kit_ring *kit, uint32_t flags);

/* io_uring_register() on the kit's ring: what it returns, or -errno. */
int ouro__kit_register(struct ouro__kit_ring *kit, uint32_t opcode, void *arg, uint32_t nr);

/* A ring of @entries, CQ of at least 32.  ENOMEM is retried: old rings are torn down behind us. */
int ouro__kit_open(struct ouro__kit_ring *kit, uint32_t entries, uint32_t setup_flags);
void ouro__kit_close(struct ouro__kit_ring *kit);
/* A new ring of the same kind in place of one in which something may be left. */
int ouro__kit_reopen(struct ouro__kit_ring *kit);

/* An SQE, zeroed, with @user_data set.  Never NULL: the callers queue fewer than the ring has. */
struct io_uring_sqe *ouro__kit_sqe(struct ouro__kit_ring *kit, uint8_t opcode, int fd,
                                   uint64_t user_data);
/* Submit what is queued: the number taken, or -errno. */
int ouro__kit_submit(struct ouro__kit_ring *kit);
/* Take the next CQE, waiting up to @timeout_ns.  0, -ETIME, or what enter said. */
int ouro__kit_wait(struct ouro__kit_ring *kit, int64_t timeout_ns, struct ouro__kit_cqe *out);
/* Take the next CQE, which is certain to come: -ETIME is then noted. */
int ouro__kit_expect(struct ouro__kit_ring *kit, struct ouro__kit_cqe *out);
/* Submit, then wait for one CQE of @user_data; others are dropped.  0 or -errno. */
int ouro__kit_call(struct ouro__kit_ring *kit, uint64_t user_data, struct ouro__kit_cqe *out);
/* enter() for one completion that does not come, @flags and @arg as given: 0 or -errno. */
int ouro__kit_wait_for_nothing(struct ouro__kit_ring *kit, uint32_t flags, const void *arg,
                               size_t arg_size);
/* Whether a completion is there; and drop all that are. */
bool ouro__kit_has_cqe(const struct ouro__kit_ring *kit);
void ouro__kit_drain(struct ouro__kit_ring *kit);
/* Drop all that are there, and close the descriptors that those of @user_data bring. */
void ouro__kit_drain_descriptors(struct ouro__kit_ring *kit, uint64_t user_data);
/* Cancel everything and take the CQEs until none is left, so memory may be reused. */
void ouro__kit_cancel_all(struct ouro__kit_ring *kit);

/* A connected AF_UNIX pair, CLOEXEC. */
int ouro__kit_pair(int type, int out_fds[2]);
/* A listener on an abstract AF_UNIX name the kernel chose; the name is given back for clients. */
struct ouro__kit_listener {
    int fd;
    uint32_t addr_len;
    uint8_t addr[112];
};
int ouro__kit_listen(int backlog, struct ouro__kit_listener *out);
void ouro__kit_shut(int *fd);

/* A provided-buffer ring of 8 buffers and their memory, in one mapping. */
#define OURO__KIT_BUFFERS 8u
struct ouro__kit_buffers {
    struct io_uring_buf_ring *ring;
    uint8_t *data;
    uint32_t buffer_size;
    uint16_t bgid;
};
/* @flags: OURO__PBUF_RING_INC or 0.  At most 2048 bytes a buffer. */
int ouro__kit_buffers_open(struct ouro__kit_ring *kit, uint16_t bgid, uint32_t buffer_size,
                           uint32_t buffer_count, uint16_t flags, struct ouro__kit_buffers *out);
void ouro__kit_buffers_close(struct ouro__kit_ring *kit, struct ouro__kit_buffers *buffers);
static inline uint32_t ouro__kit_buffer_id(const struct ouro__kit_cqe *cqe)
{
    return cqe->flags >> IORING_CQE_BUFFER_SHIFT;
}

/* A detection step: performs something, and adds those bits of @finds that work. */
struct ouro__feature_step {
    void (*run)(struct ouro__kit_ring *kit, struct ouro__feature_report *report);
    uint64_t finds;
};

/* Both end with a NULL (feature_socket.c, feature_ring.c). */
extern const struct ouro__feature_step ouro__feature_socket_steps[];
extern const struct ouro__feature_step ouro__feature_ring_steps[];

static inline void ouro__feature_found(struct ouro__feature_report *report,
                                       enum ouro__feature feature, bool works)
{
    if (!works)
        return;
    report->present |= OURO__FEATURE_BIT(feature);
    report->claimed |= OURO__FEATURE_BIT(feature);
}

static inline bool ouro__feature_op_listed(const struct ouro__feature_report *report, uint32_t op)
{
    return op < 128 && (report->op_supported[op / 64] >> (op % 64) & 1) != 0;
}

#endif
