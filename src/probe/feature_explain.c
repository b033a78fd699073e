/* SPDX-License-Identifier: MIT */
/*
 * Why io_uring was not chosen, and what to change, in a line each.
 *
 * An EPERM can come from a sysctl, a seccomp filter or a security module, and each has its own
 * remedy.  So the system is read first (the sysctl, /proc/self/status, the memlock limit), and the
 * lines name what to change.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  both buffers end in a zero byte.
 * Tests:   tests/tools/cases_probe.py
 */
#define _GNU_SOURCE
#include "probe/feature.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "base/kernel.h"
#include "base/text.h"

static int number_after(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    if (at == NULL)
        return -1;
    return (int)strtol(at + strlen(label), NULL, 10);
}

void ouro__feature_read_system(struct ouro__feature_report *report)
{
    struct utsname uts;
    if (uname(&uts) == 0) {
        memcpy(report->kernel_release, uts.release, sizeof(report->kernel_release) - 1);
        memcpy(report->machine, uts.machine, sizeof(report->machine) - 1);
    }
    report->sysctl_io_uring_disabled = -1;
    report->seccomp_mode = -1;
    char text[4096];
    if (ouro__kernel_read_small_file("/proc/sys/kernel/io_uring_disabled", text, sizeof(text)) > 0)
        report->sysctl_io_uring_disabled = (int)strtol(text, NULL, 10);
    if (ouro__kernel_read_small_file("/proc/self/status", text, sizeof(text)) > 0)
        report->seccomp_mode = number_after(text, "\nSeccomp:");
    struct rlimit limit;
    report->memlock_limit_bytes = UINT64_MAX;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        report->memlock_limit_bytes = (uint64_t)limit.rlim_cur;
}

static void put_error(struct ouro__text *line, int error)
{
    const char *name = strerrorname_np(-error);
    if (name != NULL)
        ouro__text_put(line, name);
    else {
        ouro__text_put(line, "error ");
        ouro__text_put_number(line, (uint64_t) - (int64_t)error);
    }
}

static const char *refused_call(enum ouro__feature_stage stage)
{
    switch (stage) {
    case OURO__FEATURE_STAGE_SETUP:
        return "io_uring_setup()";
    case OURO__FEATURE_STAGE_REGISTER:
        return "io_uring_register()";
    case OURO__FEATURE_STAGE_ENTER:
        return "io_uring_enter()";
    case OURO__FEATURE_STAGE_SOCKET:
        return "an operation on a socket";
    case OURO__FEATURE_STAGE_TEST:
    case OURO__FEATURE_STAGE_TIER:
    case OURO__FEATURE_STAGE_DONE:
        break;
    }
    return "a test of io_uring";
}

static void explain_missing(const struct ouro__feature_report *report, struct ouro__text *why,
                            struct ouro__text *change)
{
    const uint64_t missing = ouro__feature_required_bits() & ~report->present;
    const char *newest = "0";
    ouro__text_put(why, "this kernel (");
    ouro__text_put(why, report->kernel_release);
    ouro__text_put(why, ") lacks ");
    bool first = true;
    for (int i = 0; i < OURO__FEATURE_COUNT; i++) {
        if ((missing & OURO__FEATURE_BIT(i)) == 0)
            continue;
        ouro__text_put(why, first ? "" : ", ");
        ouro__text_put(why, ouro__feature_table[i].name);
        first = false;
        if (strverscmp(ouro__feature_table[i].since, newest) > 0)
            newest = ouro__feature_table[i].since;
    }
    ouro__text_put(change, "run Linux ");
    ouro__text_put(change, newest);
    ouro__text_put(change, " or later");
}

static bool is_refusal(int error)
{
    return error == -EPERM || error == -EACCES || error == -ENOSYS || error == -EOPNOTSUPP ||
           error == -EINVAL;
}

static void explain_refusal(const struct ouro__feature_report *report, struct ouro__text *why,
                            struct ouro__text *change)
{
    ouro__text_put(why, refused_call(report->stage));
    ouro__text_put(why, report->stage == OURO__FEATURE_STAGE_TEST ? " ended with "
                                                                  : " was refused with ");
    put_error(why, report->error);
    const int sysctl = report->sysctl_io_uring_disabled;
    if (report->stage == OURO__FEATURE_STAGE_SETUP && report->error == -EPERM && sysctl > 0) {
        ouro__text_put(why, sysctl == 1
                                ? ": kernel.io_uring_disabled is 1 (privileged processes only)"
                                : ": kernel.io_uring_disabled is 2 (for everybody)");
        ouro__text_put(change, "as root: sysctl kernel.io_uring_disabled=0");
        if (sysctl == 1)
            ouro__text_put(change, ", or put this user in the group of kernel.io_uring_group");
    } else if (report->error == -ENOMEM && report->memlock_limit_bytes != UINT64_MAX) {
        ouro__text_put(why, ": no memory, of which ");
        ouro__text_put_number(why, report->memlock_limit_bytes / 1024);
        ouro__text_put(why, " KiB may be locked");
        ouro__text_put(change,
                       "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) or the memory limit of the "
                       "control group");
    } else if (report->error == -ENOMEM) {
        ouro__text_put(why, ": no memory");
        ouro__text_put(change, "raise the memory limit of the control group");
    } else if (report->error == -EMFILE || report->error == -ENFILE) {
        ouro__text_put(why, ": no descriptor left");
        ouro__text_put(change, report->error == -EMFILE
                                   ? "raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)"
                                   : "as root: raise the sysctl fs.file-max");
    } else if (!is_refusal(report->error)) {
        ouro__text_put(change, "try again when the machine is less busy");
    } else if (report->seccomp_mode == 2) {
        ouro__text_put(why, ", and this process runs under a seccomp filter");
        ouro__text_put(
            change, "allow io_uring_setup, io_uring_enter and io_uring_register in the sandbox's "
                    "seccomp profile");
    } else if (report->error == -ENOSYS) {
        ouro__text_put(why, ": this kernel has no io_uring");
        ouro__text_put(change, "run a kernel built with CONFIG_IO_URING");
    } else {
        ouro__text_put(change,
                       "ask the security module (SELinux, AppArmor, Landlock) of this machine, "
                       "class io_uring");
    }
}

void ouro__feature_explain(const struct ouro__feature_report *report, char *why, size_t why_size,
                           char *change, size_t change_size)
{
    struct ouro__text why_line = ouro__text_in(why, why_size);
    struct ouro__text change_line = ouro__text_in(change, change_size);
    if (report->error == 0)
        return;
    if (report->stage == OURO__FEATURE_STAGE_TIER)
        explain_missing(report, &why_line, &change_line);
    else
        explain_refusal(report, &why_line, &change_line);
}
