/* SPDX-License-Identifier: MIT */
/*
 * The one table of what a kernel's io_uring may have, and how each entry is found out.  The
 * runtime's choice of a path, `ouro probe` and ouro-ktest all read this table, so they cannot
 * disagree.  A runtime looks only at the features it uses (probe/uses.h); the other two look at
 * all.
 *
 * Kernel versions do not count: stable kernels carry back-ports, some of them wrong.  Three states
 * are kept apart instead:
 *   claimed  the kernel lists it: opcode probe, feature bit, or the set-up call took the flag;
 *   present  an operation that uses it was performed and did what it should (or, where nothing can
 *            be performed in passing, it is claimed; `how` in the table says which);
 *   trusted  present, and no quirk (probe/quirk.h) stands against it.
 *
 * Detection makes io_uring system calls.  Some sandboxes kill a process that makes one, so a
 * runtime that was told to use epoll never calls it.
 */
#ifndef OURO_PROBE_FEATURE_H
#define OURO_PROBE_FEATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ouro__feature {
    /* The 6.1 tier: without any one of these the driver is epoll. */
    OURO__FEATURE_NODROP,
    OURO__FEATURE_SUBMIT_STABLE,
    OURO__FEATURE_FAST_POLL,
    OURO__FEATURE_EXT_ARG,
    OURO__FEATURE_CQE_SKIP,
    OURO__FEATURE_SUBMIT_ALL,
    OURO__FEATURE_TASKRUN_FLAG,
    OURO__FEATURE_SINGLE_ISSUER,
    OURO__FEATURE_DEFER_TASKRUN,
    OURO__FEATURE_SOCKET_OPS,
    OURO__FEATURE_CANCEL,
    OURO__FEATURE_LINK_TIMEOUT,
    OURO__FEATURE_ACCEPT_MULTISHOT, /* optional: single accepts do as well */
    OURO__FEATURE_RECV_MULTISHOT,
    OURO__FEATURE_PBUF_RING,
    OURO__FEATURE_MSG_RING,
    /* Optional: each can be masked, and everything works without it. */
    OURO__FEATURE_COOP_TASKRUN,
    OURO__FEATURE_RING_FD,
    OURO__FEATURE_REG_REG_RING,
    OURO__FEATURE_SOCKET,
    OURO__FEATURE_BIND_LISTEN,
    OURO__FEATURE_DIRECT_FD,
    OURO__FEATURE_FIXED_FD_INSTALL,
    OURO__FEATURE_ACCEPT_DONTWAIT,
    OURO__FEATURE_POLL_MULTISHOT,
    OURO__FEATURE_TIMEOUT_MULTISHOT,
    OURO__FEATURE_READ_MULTISHOT,
    OURO__FEATURE_RECVMSG_MULTISHOT,
    OURO__FEATURE_RECV_CAPS,
    OURO__FEATURE_PBUF_MMAP,
    OURO__FEATURE_PBUF_STATUS,
    OURO__FEATURE_PBUF_INC,
    OURO__FEATURE_BUNDLE,
    OURO__FEATURE_SEND_VECTORIZED,
    OURO__FEATURE_SEND_ZC,
    OURO__FEATURE_SENDMSG_ZC,
    OURO__FEATURE_ZC_REPORT_USAGE,
    OURO__FEATURE_SOCKET_CMD,
    OURO__FEATURE_CANCEL_FD,
    OURO__FEATURE_CANCEL_USERDATA,
    OURO__FEATURE_CANCEL_OP,
    OURO__FEATURE_SYNC_CANCEL,
    OURO__FEATURE_FUTEX,
    OURO__FEATURE_WAITID,
    OURO__FEATURE_EPOLL_WAIT,
    OURO__FEATURE_PIPE,
    OURO__FEATURE_MIN_WAIT,
    OURO__FEATURE_ABS_TIMER,
    OURO__FEATURE_CLOCK,
    OURO__FEATURE_REGISTERED_WAIT,
    OURO__FEATURE_NO_IOWAIT,
    OURO__FEATURE_NAPI,
    OURO__FEATURE_RESIZE,
    OURO__FEATURE_SEND_MSG_RING,
    OURO__FEATURE_IOWQ_MAX_WORKERS,
    OURO__FEATURE_NO_SQARRAY,
    OURO__FEATURE_CQE_MIXED,
    OURO__FEATURE_QUERY,
    OURO__FEATURE_MADV_GUARD, /* of mm, not of io_uring: one mapping for all stacks */
    OURO__FEATURE_COUNT
};

_Static_assert(OURO__FEATURE_COUNT < 64, "features live in a 64-bit word");

#define OURO__FEATURE_BIT(feature) (UINT64_C(1) << (feature))
#define OURO__FEATURE_ALL (OURO__FEATURE_BIT(OURO__FEATURE_COUNT) - 1)

struct ouro__feature_info {
    const char *name;  /* "recv-multishot": stable, for output and for masking */
    const char *since; /* mainline version that brought it, "6.0" */
    const char *what;  /* one phrase: what it is good for */
    const char *how;   /* how it is established */
    bool required;     /* part of the 6.1 tier */
};

extern const struct ouro__feature_info ouro__feature_table[OURO__FEATURE_COUNT];

/* Bits of every feature the tier needs. */
uint64_t ouro__feature_required_bits(void);

/* The stage at which the kernel, or a filter, refused a call. */
enum ouro__feature_stage {
    OURO__FEATURE_STAGE_SETUP,    /* io_uring_setup() itself refused */
    OURO__FEATURE_STAGE_REGISTER, /* a ring was made, io_uring_register() refused */
    OURO__FEATURE_STAGE_ENTER,    /* io_uring_enter() refused */
    OURO__FEATURE_STAGE_SOCKET,   /* a NOP went through, an operation on a socket did not */
    OURO__FEATURE_STAGE_TEST,     /* something this process may not, or cannot do, is in the way */
    OURO__FEATURE_STAGE_TIER,     /* everything answered, something required is missing */
    OURO__FEATURE_STAGE_DONE
};

struct ouro__feature_report {
    uint64_t present;         /* OURO__FEATURE_BIT()s, see above */
    uint64_t claimed;         /* includes present */
    uint64_t unanswered;      /* wanted, and not found out because of @obstacle */
    int obstacle;             /* 0, or the first -ENOMEM, -EPERM, ... that kept an answer away */
    uint64_t quirks;          /* OURO__QUIRK_BIT()s: wrong on this kernel */
    uint64_t quirks_untested; /* not run, not applicable, or not testable in passing */
    int error;                /* 0, or the -errno of the step that refused */
    enum ouro__feature_stage stage;
    int sysctl_io_uring_disabled; /* kernel.io_uring_disabled; -1: this kernel has none, or no /proc
                                   */
    int seccomp_mode;             /* 0 none, 1 strict, 2 filter, -1 unknown */
    uint64_t memlock_limit_bytes; /* UINT64_MAX: unlimited */
    uint32_t ring_features;       /* io_uring_params.features as the kernel gave them */
    uint32_t op_count;            /* opcodes the probe lists */
    uint64_t op_supported[2];     /* bit per opcode */
    int64_t detect_ns;            /* what detection cost */
    int64_t selftest_ns;          /* what the quirk self-test cost */
    char kernel_release[65];
    char machine[65];
};

static inline bool ouro__feature_present(const struct ouro__feature_report *report,
                                         enum ouro__feature feature)
{
    return (report->present & OURO__FEATURE_BIT(feature)) != 0;
}

/*
 * Fill @out for the running kernel, as far as @wanted (OURO__FEATURE_BIT()s) goes.  Called from any
 * thread; all descriptors and mappings it makes are released again.  What a runtime uses costs a
 * tenth of what OURO__FEATURE_ALL costs.  @out is filled in any case.
 *
 * Returns 0 when the wanted part of the 6.1 tier is there; -ENOSYS, -EPERM, ... when a call was
 * refused; -ENOMEM, -EMFILE, ... when this process is short of something; -ENOTSUP when everything
 * answered and something required is missing.
 */
int ouro__feature_detect(uint64_t wanted, struct ouro__feature_report *out);

/* Whether a later look by this process would find the same.  False after any refusal or shortage: a
 * sysctl can change, and memory and descriptors come back. */
bool ouro__feature_answer_lasts(const struct ouro__feature_report *report);

/* Fills in what the system says about itself: the fields from sysctl_io_uring_disabled to
 * memlock_limit_bytes, the kernel's release and the machine. */
void ouro__feature_read_system(struct ouro__feature_report *report);

/*
 * Two lines for a person, both without newline, cut to their buffers, empty when @report is fine:
 * why io_uring was not chosen, and what to change so that it is.  Needs
 * ouro__feature_read_system() first.
 */
void ouro__feature_explain(const struct ouro__feature_report *report, char *why, size_t why_size,
                           char *change, size_t change_size);

#endif
