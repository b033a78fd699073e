/* SPDX-License-Identifier: MIT */
/*
 * Which of the kernel's features the runtime uses, for which quirks it has a second path, and which
 * quirk makes a feature untrustworthy.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  what is listed here is used.  The tier requires more, so that later versions can rely on
 *          it.
 * Tests:   tests/tools/cases_probe.py, tests/masks/masks.py
 */
#include "probe/uses.h"

#include "base/compiler.h"
#include "probe/quirk.h"

#define BIT(feature) OURO__FEATURE_BIT(OURO__FEATURE_##feature)

uint64_t ouro__uring_uses(void)
{
    return BIT(NODROP) | BIT(SUBMIT_STABLE) | BIT(FAST_POLL) | BIT(EXT_ARG) | BIT(CQE_SKIP) |
           BIT(SUBMIT_ALL) | BIT(TASKRUN_FLAG) | BIT(SINGLE_ISSUER) | BIT(DEFER_TASKRUN) |
           BIT(SOCKET_OPS) | BIT(CANCEL) | BIT(RING_FD) | BIT(NO_IOWAIT) | BIT(MADV_GUARD);
}

uint64_t ouro__uring_uses_later(void)
{
    return BIT(PBUF_RING) | BIT(ACCEPT_MULTISHOT) | BIT(MIN_WAIT) | BIT(NAPI) | BIT(SEND_ZC) |
           BIT(ZC_REPORT_USAGE);
}

static const struct {
    enum ouro__feature feature;
    enum ouro__quirk quirk;
} distrust[] = {
    {OURO__FEATURE_CANCEL_USERDATA, OURO__QUIRK_CANCEL_FD_USERDATA},
    {OURO__FEATURE_CANCEL_OP, OURO__QUIRK_CANCEL_OP},
    {OURO__FEATURE_PBUF_INC, OURO__QUIRK_INC_WAITALL},
    {OURO__FEATURE_PBUF_INC, OURO__QUIRK_INC_TRUNC},
    {OURO__FEATURE_PBUF_INC, OURO__QUIRK_INC_EOF},
    {OURO__FEATURE_TIMEOUT_MULTISHOT, OURO__QUIRK_TIMEOUT_UPDATE_COUNT},
    {OURO__FEATURE_TIMEOUT_MULTISHOT, OURO__QUIRK_TIMEOUT_UPDATE_ABS},
    {OURO__FEATURE_FUTEX, OURO__QUIRK_FUTEX_LINK_TIMEOUT},
};

bool ouro__uring_runs_on(const struct ouro__feature_report *report)
{
    const uint64_t needed = ouro__uring_uses() & ouro__feature_required_bits();
    return report->stage >= OURO__FEATURE_STAGE_TEST && (report->present & needed) == needed;
}

uint64_t ouro__uring_quirk_paths(void)
{
    return OURO__QUIRK_BIT(OURO__QUIRK_SEND_READ_SIDE);
}

const char *ouro__uring_distrusted_by(const struct ouro__feature_report *report,
                                      enum ouro__feature feature)
{
    for (unsigned i = 0; i < OURO__ARRAY_LEN(distrust); i++) {
        if (distrust[i].feature == feature && ouro__quirk_set(report, distrust[i].quirk))
            return ouro__quirk_table[distrust[i].quirk].name;
    }
    return "";
}
