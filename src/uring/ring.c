/* SPDX-License-Identifier: MIT */
/*
 * Ring: opens and closes the ring, and makes every io_uring_enter(2).
 *
 * The ring is made for one thread that waits in it.  Its flags are SINGLE_ISSUER and DEFER_TASKRUN
 * (the kernel produces completions when their owner enters, and does not interrupt it),
 * TASKRUN_FLAG (a flag in memory tells the owner that an enter will produce completions), and
 * SUBMIT_ALL (a bad SQE does not stop those behind it).  The descriptor is always close-on-exec,
 * and the mappings are kept out of forked children, because a child's SQEs would run in the
 * parent's ring.
 *
 * A ring that another event loop polls is made with COOP_TASKRUN instead of DEFER_TASKRUN: on many
 * kernels a poll of a ring with DEFER_TASKRUN is not woken by completions before an enter.
 *
 * Memory of rings counts against RLIMIT_MEMLOCK, and that of rings closed a moment ago still does,
 * for the kernel takes them apart in the background.  So -ENOMEM is answered by waiting a little,
 * and then by a smaller ring.
 *
 * Owns:    the ring, from open() to close().  The wake descriptor it only makes: that is closed
 *          with the handle, since an unpark that has seen the owner asleep may write to it after
 *          close().
 * Threads: the owner's.
 * Always:  SQEs are handed over in the order in which they were filled.
 * Tests:   tests/uring/test_ring.c
 */
#include "uring/ring.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "probe/abi.h"
#include "probe/feature.h"
#include "probe/quirk.h"
#include "uring/sanitize.h"

#include <ouro/runtime.h>

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SQ_ENTRIES_DEFAULT = 256,
    SQ_ENTRIES_MAX = 32768,
    CQ_PER_SQ = 8,
    CQ_ENTRIES_MIN = 1024,
    RETRIES_PER_SIZE = 3,
    NAPI_US = 50,    /* of busy polling a network device in the kernel, with the dial at latency */
    GATHER_US = 20,  /* with the dial at throughput a wait lasts at least so long ... */
    GATHER_MAX = 16, /* ... or until so many completions are there */
};

/* Smaller rings, tried in turn when there is no memory for the one that was asked for. */
static const uint32_t sq_entries_fallback[] = {64, 16};

static int make_ring(struct ouro__uring *uring, uint32_t sq_entries, uint32_t cq_entries)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                 (uring->is_embedded ? IORING_SETUP_COOP_TASKRUN : IORING_SETUP_DEFER_TASKRUN),
        .cq_entries = cq_entries,
    };
    return io_uring_queue_init_params(sq_entries, &uring->ring, &params);
}

/* Tries again while the rings of a moment ago are being taken apart: 10, 20, then 30 ms. */
static int make_ring_patiently(struct ouro__uring *uring, uint32_t sq_entries, uint32_t cq_entries)
{
    int rc = make_ring(uring, sq_entries, cq_entries);
    for (int64_t retry = 1; rc == -ENOMEM && retry <= RETRIES_PER_SIZE; retry++) {
        struct timespec pause = ouro__clock_to_timespec(retry * 10 * OURO__NS_PER_MS);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        rc = make_ring(uring, sq_entries, cq_entries);
    }
    return rc;
}

static int make_some_ring(struct ouro__uring *uring, uint32_t wanted)
{
    uint32_t sq_entries = wanted == 0 ? SQ_ENTRIES_DEFAULT : wanted;
    if (sq_entries > SQ_ENTRIES_MAX)
        sq_entries = SQ_ENTRIES_MAX;
    uint32_t cq_entries = sq_entries * CQ_PER_SQ;
    if (cq_entries < CQ_ENTRIES_MIN)
        cq_entries = CQ_ENTRIES_MIN;
    int rc = make_ring_patiently(uring, sq_entries, cq_entries);
    for (size_t i = 0; rc == -ENOMEM && i < OURO__ARRAY_LEN(sq_entries_fallback); i++) {
        uint32_t smaller = sq_entries_fallback[i];
        if (smaller < sq_entries)
            rc = make_ring_patiently(uring, smaller, smaller * CQ_PER_SQ);
    }
    return rc;
}

/* Both are asked for without a look at the kernel before: the runtime is as good without. */
static void turn_the_dial(struct ouro__uring *uring, const struct ouro__driver_config *config)
{
    struct ouro__napi napi = {.busy_poll_to_us = NAPI_US, .prefer_busy_poll = 1};
    uring->gathers = config->dial == OURO_DIAL_THROUGHPUT &&
                     (uring->ring.features & OURO__FEAT_MIN_TIMEOUT) != 0 &&
                     (config->features & OURO__FEATURE_BIT(OURO__FEATURE_MIN_WAIT)) != 0;
    if (config->dial == OURO_DIAL_LATENCY &&
        (config->features & OURO__FEATURE_BIT(OURO__FEATURE_NAPI)) != 0)
        (void)syscall(SYS_io_uring_register, uring->ring.ring_fd, OURO__REGISTER_NAPI, &napi, 1);
}

int ouro__uring_open(const struct ouro__driver_config *config, struct ouro__driver_handle *handle,
                     struct ouro__driver **out_driver)
{
    /* Kept when a handle is opened again.  Blocking mode: the ring's read of it shall wait.
     * Writers never do, because the unpark word lets only one of them write, so the count stays far
     * from its limit. */
    bool reuses = handle->wake_fd >= 0;
    int wake_fd = reuses ? handle->wake_fd : eventfd(0, EFD_CLOEXEC);
    if (wake_fd < 0)
        return -errno;
    int rc = -ENOMEM;
    struct ouro__uring *uring = ouro__calloc(1, sizeof(*uring));
    if (uring != NULL) {
        uring->is_embedded = config->is_embedded;
        rc = make_some_ring(uring, config->ring_entries);
    }
    if (rc < 0) {
        ouro__free(uring);
        if (!reuses)
            (void)close(wake_fd);
        return rc;
    }
    /* Neither call is needed for the ring to work: a registered descriptor saves a look-up for each
     * enter, and a forked child is refused by SINGLE_ISSUER anyway. */
    (void)io_uring_ring_dontfork(&uring->ring);
    if ((config->features & OURO__FEATURE_BIT(OURO__FEATURE_RING_FD)) != 0 &&
        io_uring_register_ring_fd(&uring->ring) == 1)
        uring->enter_flags = IORING_ENTER_REGISTERED_RING;
    /* A wait for the network is not a wait for the disk: keep it out of the system's iowait time.
     */
    if ((config->features & OURO__FEATURE_BIT(OURO__FEATURE_NO_IOWAIT)) != 0)
        uring->wait_flags = OURO__ENTER_NO_IOWAIT;
    uring->driver.accepts_many =
        (config->features & OURO__FEATURE_BIT(OURO__FEATURE_ACCEPT_MULTISHOT)) != 0;
    uring->waits_to_send = (config->quirks & OURO__QUIRK_BIT(OURO__QUIRK_SEND_READ_SIDE)) != 0;
    const uint64_t zero_copy =
        OURO__FEATURE_BIT(OURO__FEATURE_SEND_ZC) | OURO__FEATURE_BIT(OURO__FEATURE_ZC_REPORT_USAGE);
    if ((config->features & zero_copy) != zero_copy)
        handle->zero_copy.is_refused = true;
    uring->buffers.is_wanted = (config->features & OURO__FEATURE_BIT(OURO__FEATURE_PBUF_RING)) != 0;
    turn_the_dial(uring, config);
    ouro__sanitize_init();
    uring->driver.handle = handle;
    handle->wake_fd = wake_fd;
    *out_driver = &uring->driver;
    return 0;
}

int ouro__uring_poll_fd(struct ouro__driver *driver)
{
    return ouro__uring_of(driver)->ring.ring_fd;
}

void ouro__uring_close(struct ouro__driver *driver)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    OURO__ASSERT(driver->inflight == 0);
    OURO__ASSERT(ouro__queue_is_empty(&uring->backlog));
    OURO__ASSERT(ouro__queue_is_empty(&uring->cancels));
    OURO__ASSERT(ouro__queue_is_empty(&uring->withdrawn));
    /* The read of the wake descriptor may still be in flight; its buffer outlives every ring. */
    io_uring_queue_exit(&uring->ring);
    ouro__uring_buffers_close(&uring->buffers);
    ouro__free(uring);
}

static int enter(struct ouro__uring *uring, unsigned to_submit, unsigned flags, unsigned wait_for,
                 int64_t timeout_ns)
{
    int rc = ouro__fault(OURO__FAULT_RING_ENTER);
    if (OURO__UNLIKELY(rc != 0))
        return rc;
    unsigned fd = (unsigned)uring->ring.enter_ring_fd;
    flags |= uring->enter_flags;
    uring->enters++;
    if (wait_for == 0)
        return io_uring_enter2(fd, to_submit, 0, flags, NULL, _NSIG / 8);

    flags |= uring->wait_flags;
    sigset_t *mask = (sigset_t *)(uintptr_t)uring->driver.handle->wait_mask;
    if (uring->gathers) {
        /* Without a time-out the kernel would end the wait after the minimum, events or not. */
        timeout_ns = timeout_ns < 0 ? OURO__NS_PER_SEC * 3600 : timeout_ns;
        wait_for = GATHER_MAX;
    }
    if (timeout_ns < 0)
        return io_uring_enter2(fd, to_submit, wait_for, flags, mask, _NSIG / 8);
    struct __kernel_timespec timeout = {.tv_sec = timeout_ns / OURO__NS_PER_SEC,
                                        .tv_nsec = timeout_ns % OURO__NS_PER_SEC};
    struct ouro__getevents_arg arg = {
        .min_wait_us = uring->gathers ? GATHER_US : 0,
        .sigmask = (uint64_t)(uintptr_t)mask,
        .sigmask_sz = _NSIG / 8,
        .ts = (uint64_t)(uintptr_t)&timeout,
    };
    return io_uring_enter2(fd, to_submit, wait_for, flags | IORING_ENTER_EXT_ARG, (sigset_t *)&arg,
                           sizeof(arg));
}

int ouro__uring_submit(struct ouro__uring *uring, unsigned flags, unsigned wait_for,
                       int64_t timeout_ns)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    sq->sqe_head = sq->sqe_tail;
    return enter(uring, ouro__uring_unsubmitted(uring), flags, wait_for, timeout_ns);
}

int ouro__uring_collect(struct ouro__uring *uring, unsigned wait_for, int64_t timeout_ns)
{
    return enter(uring, 0, IORING_ENTER_GETEVENTS, wait_for, timeout_ns);
}
