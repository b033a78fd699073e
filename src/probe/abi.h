/* SPDX-License-Identifier: MIT */
/*
 * The io_uring kernel interface as far as ouro uses it and the distribution's liburing (2.3 on
 * Debian 12) does not name it.  The one place for it: nothing else in the tree defines a kernel
 * constant.
 *
 * Why own names and numbers.  Opcodes are enum members, so `#ifdef IORING_OP_BIND` is false even
 * where the header has it, and redefining it would not compile there.  The kernel's numbers never
 * change, so OURO__ names next to them are right on every machine, whatever header it was built
 * with.  What 2.3 does name (IORING_OP_CONNECT, IORING_SETUP_DEFER_TASKRUN, ...) is used from it.
 *
 * Layouts are the kernel's; the sizes are asserted at the end of this file.
 */
#ifndef OURO_PROBE_ABI_H
#define OURO_PROBE_ABI_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>

/* Opcodes after IORING_OP_SENDMSG_ZC (6.1), with the version that brought each. */
#define OURO__OP_READ_MULTISHOT 49   /* 6.7 */
#define OURO__OP_WAITID 50           /* 6.7 */
#define OURO__OP_FUTEX_WAIT 51       /* 6.7 */
#define OURO__OP_FUTEX_WAKE 52       /* 6.7 */
#define OURO__OP_FUTEX_WAITV 53      /* 6.7 */
#define OURO__OP_FIXED_FD_INSTALL 54 /* 6.8 */
#define OURO__OP_FTRUNCATE 55        /* 6.9 */
#define OURO__OP_BIND 56             /* 6.11 */
#define OURO__OP_LISTEN 57           /* 6.11 */
#define OURO__OP_RECV_ZC 58          /* 6.15 */
#define OURO__OP_EPOLL_WAIT 59       /* 6.15 */
#define OURO__OP_READV_FIXED 60      /* 6.15 */
#define OURO__OP_WRITEV_FIXED 61     /* 6.15 */
#define OURO__OP_PIPE 62             /* 6.16 */
#define OURO__OP_NOP128 63           /* 6.19 */
#define OURO__OP_URING_CMD128 64     /* 6.19 */
#define OURO__OP_MAX 64              /* the last one named here */

/* io_uring_setup() flags after DEFER_TASKRUN (1 << 13). */
#define OURO__SETUP_NO_MMAP (1u << 14)            /* 6.5 */
#define OURO__SETUP_REGISTERED_FD_ONLY (1u << 15) /* 6.5 */
#define OURO__SETUP_NO_SQARRAY (1u << 16)         /* 6.6 */
#define OURO__SETUP_HYBRID_IOPOLL (1u << 17)      /* 6.13 */
#define OURO__SETUP_CQE_MIXED (1u << 18)          /* 6.18 */
#define OURO__SETUP_SQE_MIXED (1u << 19)          /* 6.19 */
#define OURO__SETUP_SQ_REWIND (1u << 20)          /* 7.0 */

/* io_uring_params.features after LINKED_FILE (1 << 12). */
#define OURO__FEAT_REG_REG_RING (1u << 13)    /* 6.3 */
#define OURO__FEAT_RECVSEND_BUNDLE (1u << 14) /* 6.10 */
#define OURO__FEAT_MIN_TIMEOUT (1u << 15)     /* 6.12 */
#define OURO__FEAT_RW_ATTR (1u << 16)         /* 6.14 */
#define OURO__FEAT_NO_IOWAIT (1u << 17)       /* 6.15 */

/* io_uring_enter() flags after REGISTERED_RING (1 << 4). */
#define OURO__ENTER_ABS_TIMER (1u << 5)   /* 6.12 */
#define OURO__ENTER_EXT_ARG_REG (1u << 6) /* 6.13 */
#define OURO__ENTER_NO_IOWAIT (1u << 7)   /* 6.15 */

/* cqe->flags after NOTIF (1 << 3). */
#define OURO__CQE_F_BUF_MORE (1u << 4) /* 6.12: the buffer has room left, more CQEs name it */
#define OURO__CQE_F_SKIP (1u << 5)     /* 6.18 */
#define OURO__CQE_F_32 (1u << 15)      /* 6.18 */

/* sqe->cancel_flags after FD_FIXED (1 << 3). */
#define OURO__CANCEL_USERDATA (1u << 4) /* 6.6 */
#define OURO__CANCEL_OP (1u << 5)       /* 6.6; the opcode goes to sqe->len */

/* sqe->ioprio of send and receive, after FIXED_BUF (1 << 2). */
#define OURO__SEND_ZC_REPORT_USAGE (1u << 3) /* 6.2 */
#define OURO__RECVSEND_BUNDLE (1u << 4)      /* 6.10 */
#define OURO__SEND_VECTORIZED (1u << 5)      /* 6.17 */
#define OURO__NOTIF_USAGE_ZC_COPIED (1u << 31)

/* sqe->ioprio of accept, after MULTISHOT (1 << 0). */
#define OURO__ACCEPT_DONTWAIT (1u << 1)   /* 6.10 */
#define OURO__ACCEPT_POLL_FIRST (1u << 2) /* 6.10 */

/* sqe->timeout_flags after ETIME_SUCCESS (1 << 5). */
#define OURO__TIMEOUT_MULTISHOT (1u << 6)     /* 6.4 */
#define OURO__TIMEOUT_IMMEDIATE_ARG (1u << 7) /* 7.1: sqe->addr holds nanoseconds */

/* sqe->msg_ring_flags after CQE_SKIP (1 << 0); sqe->install_fd_flags; sqe->nop_flags. */
#define OURO__MSG_RING_FLAGS_PASS (1u << 1) /* 6.3 */
#define OURO__FIXED_FD_NO_CLOEXEC (1u << 0) /* 6.8 */
#define OURO__NOP_INJECT_RESULT (1u << 0)   /* 6.10 */

/* Commands of IORING_OP_URING_CMD on a socket (sqe->cmd_op). */
#define OURO__SOCKET_CMD_SIOCINQ 0      /* 6.6 */
#define OURO__SOCKET_CMD_SIOCOUTQ 1     /* 6.6 */
#define OURO__SOCKET_CMD_GETSOCKOPT 2   /* 6.7, SOL_SOCKET only */
#define OURO__SOCKET_CMD_SETSOCKOPT 3   /* 6.7 */
#define OURO__SOCKET_CMD_TX_TIMESTAMP 4 /* 6.17 */
#define OURO__SOCKET_CMD_GETSOCKNAME 5  /* 6.19 */

/* io_uring_register() opcodes after FILE_ALLOC_RANGE (25). */
#define OURO__REGISTER_PBUF_STATUS 26                 /* 6.8 */
#define OURO__REGISTER_NAPI 27                        /* 6.9 */
#define OURO__UNREGISTER_NAPI 28                      /* 6.9 */
#define OURO__REGISTER_CLOCK 29                       /* 6.12 */
#define OURO__REGISTER_CLONE_BUFFERS 30               /* 6.12 */
#define OURO__REGISTER_SEND_MSG_RING 31               /* 6.13 */
#define OURO__REGISTER_ZCRX_IFQ 32                    /* 6.15 */
#define OURO__REGISTER_RESIZE_RINGS 33                /* 6.13 */
#define OURO__REGISTER_MEM_REGION 34                  /* 6.13 */
#define OURO__REGISTER_QUERY 35                       /* 6.18 */
#define OURO__REGISTER_ZCRX_CTRL 36                   /* 6.19 */
#define OURO__REGISTER_BPF_FILTER 37                  /* 7.0 */
#define OURO__REGISTER_USE_REGISTERED_RING (1u << 31) /* 6.3, or'ed to the opcode */

/* struct ouro__buf_reg.flags, and where a kernel-allocated buffer ring is mapped. */
#define OURO__PBUF_RING_MMAP 1u /* 6.4 */
#define OURO__PBUF_RING_INC 2u  /* 6.12: a buffer is consumed bit by bit */
#define OURO__OFF_PBUF_RING 0x80000000ull
#define OURO__OFF_PBUF_SHIFT 16

/* IORING_(UN)REGISTER_PBUF_RING.  liburing 2.3 calls `flags` padding and lacks `min_left`. */
struct ouro__buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint32_t min_left; /* 7.1, back-ported to 6.12.90 */
    uint32_t resv[5];
};

/* IORING_REGISTER_PBUF_STATUS: in the group, out the kernel's head. */
struct ouro__buf_status {
    uint32_t buf_group;
    uint32_t head;
    uint32_t resv[8];
};

/* IORING_(UN)REGISTER_NAPI; written back with what was set before. */
#define OURO__NAPI_REGISTER_OP 0u /* 6.13: `opcode` below, zero is what 6.9 did */
struct ouro__napi {
    uint32_t busy_poll_to_us;
    uint8_t prefer_busy_poll;
    uint8_t opcode;
    uint8_t pad[2];
    uint32_t op_param;
    uint32_t resv;
};

/* IORING_REGISTER_CLOCK: which clock enter's timeouts use. */
struct ouro__clock_register {
    uint32_t clockid;
    uint32_t resv[3];
};

/* IORING_REGISTER_CLONE_BUFFERS. */
struct ouro__clone_buffers {
    uint32_t src_fd;
    uint32_t flags;
    uint32_t src_off;
    uint32_t dst_off;
    uint32_t nr;
    uint32_t pad[3];
};

/* io_uring_enter(GETEVENTS | EXT_ARG): 2.3 calls `min_wait_usec` padding. */
struct ouro__getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t min_wait_us; /* with OURO__FEAT_MIN_TIMEOUT */
    uint64_t ts;
};

/* io_uring_enter(GETEVENTS | EXT_ARG_REG): element of a registered wait region. */
#define OURO__REG_WAIT_TS (1u << 0)
struct ouro__reg_wait {
    struct __kernel_timespec ts;
    uint32_t min_wait_us;
    uint32_t flags;
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t pad[3];
    uint64_t pad2[2];
};

/* IORING_REGISTER_MEM_REGION, on a ring that is still R_DISABLED. */
#define OURO__MEM_REGION_TYPE_USER 1u
#define OURO__MEM_REGION_REG_WAIT_ARG 1u
struct ouro__region_desc {
    uint64_t user_addr;
    uint64_t size;
    uint32_t flags;
    uint32_t id;
    uint64_t mmap_offset;
    uint64_t resv[4];
};
struct ouro__mem_region_reg {
    uint64_t region_uptr;
    uint64_t flags;
    uint64_t resv[2];
};

/* IORING_REGISTER_SYNC_CANCEL with the opcode key of 6.6. */
struct ouro__sync_cancel_reg {
    uint64_t addr;
    int32_t fd;
    uint32_t flags;
    struct __kernel_timespec timeout;
    uint8_t opcode;
    uint8_t pad[7];
    uint64_t pad2[3];
};

/* IORING_REGISTER_QUERY: ring fd -1, nr_args 0. */
#define OURO__QUERY_OPCODES 0u
struct ouro__query_hdr {
    uint64_t next_entry;
    uint64_t query_data;
    uint32_t query_op;
    uint32_t size;
    int32_t result;
    uint32_t resv[3];
};
struct ouro__query_opcodes {
    uint32_t nr_request_opcodes;
    uint32_t nr_register_opcodes;
    uint64_t feature_flags;
    uint64_t setup_flags;
    uint64_t enter_flags;
    uint64_t sqe_flags;
    uint32_t nr_query_opcodes;
    uint32_t pad;
};

/* madvise(2): guard pages without a mapping of their own (6.13). */
#define OURO__MADV_GUARD_INSTALL 102
#define OURO__MADV_GUARD_REMOVE 103

/*
 * Fields of an SQE which 2.3's struct has under no name.  They lie in its unions at fixed places.
 */

/* IORING_OP_URING_CMD get/setsockopt: level and optname share sqe->addr, optval is sqe->addr3. */
static inline void ouro__sqe_set_sockopt(struct io_uring_sqe *sqe, uint32_t level, uint32_t optname,
                                         const void *optval, uint32_t optlen)
{
    const uint32_t pair[2] = {level, optname};
    __builtin_memcpy(&sqe->addr, pair, sizeof(pair));
    sqe->file_index = optlen;
    sqe->addr3 = (uint64_t)(uintptr_t)optval;
}

/* Multishot receive, 6.17: sqe->len caps one completion, this one the sum of all. */
static inline void ouro__sqe_set_optlen(struct io_uring_sqe *sqe, uint32_t optlen)
{
    sqe->file_index = optlen;
}

_Static_assert(sizeof(struct ouro__buf_reg) == 40, "kernel layout");
_Static_assert(sizeof(struct ouro__buf_reg) == sizeof(struct io_uring_buf_reg), "kernel layout");
_Static_assert(sizeof(struct ouro__buf_status) == 40, "kernel layout");
_Static_assert(sizeof(struct ouro__napi) == 16, "kernel layout");
_Static_assert(sizeof(struct ouro__clock_register) == 16, "kernel layout");
_Static_assert(sizeof(struct ouro__clone_buffers) == 32, "kernel layout");
_Static_assert(sizeof(struct ouro__getevents_arg) == sizeof(struct io_uring_getevents_arg),
               "kernel layout");
_Static_assert(sizeof(struct ouro__reg_wait) == 64, "kernel layout");
_Static_assert(sizeof(struct ouro__region_desc) == 64, "kernel layout");
_Static_assert(sizeof(struct ouro__mem_region_reg) == 32, "kernel layout");
_Static_assert(sizeof(struct ouro__sync_cancel_reg) == sizeof(struct io_uring_sync_cancel_reg),
               "kernel layout");
_Static_assert(sizeof(struct ouro__query_hdr) == 40, "kernel layout");
_Static_assert(sizeof(struct ouro__query_opcodes) == 48, "kernel layout");
_Static_assert(offsetof(struct io_uring_sqe, addr3) == 48, "kernel layout");
_Static_assert(offsetof(struct io_uring_sqe, file_index) == 44, "kernel layout");

#endif
