/* SPDX-License-Identifier: MIT */
/*
 * The one table of known kernel misbehaviours, and the self-test of each.
 *
 * A quirk is a feature that is there and wrong.  Each self-test performs the operation and looks at
 * the result, never at a version.  All of them together cost below a millisecond on a healthy
 * kernel; one that finds its quirk may wait up to 50 ms for what does not come.
 *
 * Most of the table is for ouro-ktest and `ouro probe`: these quirks are about things the runtime
 * never does.  Those for which the runtime has a second path are in ouro__uring_quirk_paths()
 * (probe/uses.h); a runtime's start tests them and no others.
 *
 * A quirk's number is its bit in masks that callers store, so quirks are only ever appended.
 */
#ifndef OURO_PROBE_QUIRK_H
#define OURO_PROBE_QUIRK_H

#include "probe/feature.h"

enum ouro__quirk {
    OURO__QUIRK_DEFER_RING_FD,        /* D1, K056 */
    OURO__QUIRK_DEFER_EVENTFD,        /* EV, K057 */
    OURO__QUIRK_CANCEL_FD_USERDATA,   /* CX, K045 */
    OURO__QUIRK_CANCEL_OP,            /* CX, K046 */
    OURO__QUIRK_INC_WAITALL,          /* B9, K032 */
    OURO__QUIRK_INC_TRUNC,            /* B8, K033 */
    OURO__QUIRK_INC_EOF,              /* K034 */
    OURO__QUIRK_UNIX_CONNECT_SLOW,    /* B15, K011 */
    OURO__QUIRK_TIMEOUT_UPDATE_COUNT, /* B1, K050 */
    OURO__QUIRK_TIMEOUT_UPDATE_ABS,   /* B2, K050 */
    OURO__QUIRK_FUTEX_LINK_TIMEOUT,   /* B3, K049 */
    OURO__QUIRK_CONNECT_EINPROGRESS,  /* K001 */
    OURO__QUIRK_MIN_WAIT_EARLY,       /* B4, K051: a race, not testable in passing */
    OURO__QUIRK_CANCEL_ASYNC,         /* B7, K047: a race, not testable in passing */
    OURO__QUIRK_SEND_READ_SIDE,       /* K071 */
    OURO__QUIRK_COUNT
};

_Static_assert(OURO__QUIRK_COUNT <= 64, "quirks live in a 64-bit word");

#define OURO__QUIRK_BIT(quirk) (UINT64_C(1) << (quirk))

struct ouro__quirk_info {
    const char *name;      /* "defer-ring-fd": stable, for output and for forcing */
    const char *assertion; /* id of the ouro-ktest assertion that looks closer */
    const char *wrong;     /* what the kernel does when the bit is set */
    const char *instead;   /* what the runtime does so that it does not matter */
    const char *known;     /* kernels it was seen on */
    bool tested;           /* false: no self-test, stays in quirks_untested */
};

extern const struct ouro__quirk_info ouro__quirk_table[OURO__QUIRK_COUNT];

static inline bool ouro__quirk_set(const struct ouro__feature_report *report,
                                   enum ouro__quirk quirk)
{
    return (report->quirks & OURO__QUIRK_BIT(quirk)) != 0;
}

#define OURO__QUIRK_ALL (OURO__QUIRK_BIT(OURO__QUIRK_COUNT) - 1)

/*
 * Run the self-tests of @wanted (OURO__QUIRK_BIT()s) whose feature @report has; set their bits in
 * report->quirks and take them out of quirks_untested; set selftest_ns.  Call it after
 * ouro__feature_detect() succeeded; it may be called again with other bits.
 *
 * Returns 0; -errno when no ring could be had: then the tests that did not run stay untested.
 */
int ouro__quirk_selftest(struct ouro__feature_report *report, uint64_t wanted);

#endif
