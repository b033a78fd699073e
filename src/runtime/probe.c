/* SPDX-License-Identifier: MIT */
/*
 * The probe: reports what the kernel offers, for users and for programs that choose themselves.
 *
 * It reads the same tables, and runs the same detection and self-tests, as the runtime's own choice
 * and as ouro-ktest.  A runtime's start runs the part of them that it needs; the probe runs all.
 *
 * Owns:    the report and its two lines.
 * Threads: any.
 * Always:  a kernel without io_uring is a result.
 * Tests:   tests/runtime/test_choice.c, tests/tools/cases_probe.py
 */
#include "base/alloc.h"
#include "probe/feature.h"
#include "probe/quirk.h"
#include "probe/uses.h"

#include <ouro/probe.h>

#include <errno.h>

struct ouro_probe {
    struct ouro__feature_report report;
    int error;
    char reason[256];
    char remedy[256];
};

int ouro_probe_new(struct ouro_probe **out_probe)
{
    if (out_probe == NULL)
        return -EINVAL;
    struct ouro_probe *probe = ouro__calloc(1, sizeof(*probe));
    if (probe == NULL)
        return -ENOMEM;
    probe->error = ouro__feature_detect(OURO__FEATURE_ALL, &probe->report);
    ouro__feature_read_system(&probe->report);
    if (ouro__uring_runs_on(&probe->report))
        probe->error = 0;
    if (probe->error == 0)
        (void)ouro__quirk_selftest(&probe->report, OURO__QUIRK_ALL);
    else
        ouro__feature_explain(&probe->report, probe->reason, sizeof(probe->reason), probe->remedy,
                              sizeof(probe->remedy));
    *out_probe = probe;
    return 0;
}

void ouro_probe_free(struct ouro_probe *probe)
{
    ouro__free(probe);
}

int ouro_probe_uring_usable(const struct ouro_probe *probe)
{
    return probe != NULL && probe->error == 0;
}

const char *ouro_probe_reason(const struct ouro_probe *probe)
{
    return probe == NULL ? "" : probe->reason;
}

const char *ouro_probe_remedy(const struct ouro_probe *probe)
{
    return probe == NULL ? "" : probe->remedy;
}

const char *ouro_probe_kernel(const struct ouro_probe *probe)
{
    return probe == NULL ? "" : probe->report.kernel_release;
}

/* Why a feature that is there is not used. */
static const char *why_not(const struct ouro_probe *probe, unsigned feature)
{
    uint64_t bit = OURO__FEATURE_BIT(feature);
    if ((probe->report.unanswered & bit) != 0)
        return "not found out: something this process lacks or may not do is in the way";
    if ((probe->report.present & bit) == 0)
        return (probe->report.claimed & bit) != 0 ? "claimed, but it did not work when performed"
                                                  : "";
    const char *quirk = ouro__uring_distrusted_by(&probe->report, (enum ouro__feature)feature);
    if (quirk[0] != '\0')
        return quirk;
    if (((ouro__uring_uses() | ouro__uring_uses_later()) & bit) == 0)
        return ouro__feature_table[feature].required
                   ? "the tier has it; this version of ouro does not use it yet"
                   : "this version of ouro does not need it";
    if (probe->error != 0 && feature != OURO__FEATURE_MADV_GUARD)
        return "the driver is epoll";
    return "";
}

int ouro_probe_feature(const struct ouro_probe *probe, uint32_t index,
                       struct ouro_probe_item *out_item)
{
    if (probe == NULL || out_item == NULL)
        return -EINVAL;
    if (index >= OURO__FEATURE_COUNT)
        return -ENOENT;
    const struct ouro__feature_info *info = &ouro__feature_table[index];
    int present = ouro__feature_present(&probe->report, (enum ouro__feature)index);
    const char *reason = why_not(probe, index);
    const char *quirk = ouro__uring_distrusted_by(&probe->report, (enum ouro__feature)index);
    *out_item = (struct ouro_probe_item){
        .name = info->name,
        .what = info->what,
        .since = info->since,
        .how = info->how,
        .present = present,
        .required = info->required,
        .trusted = present && quirk[0] == '\0',
        .used = present && reason[0] == '\0',
        .why_not = reason,
    };
    return 0;
}

int ouro_probe_quirk(const struct ouro_probe *probe, uint32_t index,
                     struct ouro_probe_item *out_item)
{
    if (probe == NULL || out_item == NULL)
        return -EINVAL;
    if (index >= OURO__QUIRK_COUNT)
        return -ENOENT;
    const struct ouro__quirk_info *info = &ouro__quirk_table[index];
    bool untested = (probe->report.quirks_untested & OURO__QUIRK_BIT(index)) != 0;
    int present = ouro__quirk_set(&probe->report, (enum ouro__quirk)index);
    int has_path = (ouro__uring_quirk_paths() & OURO__QUIRK_BIT(index)) != 0;
    *out_item = (struct ouro_probe_item){
        .name = info->name,
        .what = info->wrong,
        .since = "",
        .how = untested ? "not tested here" : "self-test",
        .present = present,
        .trusted = !untested,
        .used = has_path,
        .why_not = present ? info->instead : "",
    };
    return 0;
}
