/* SPDX-License-Identifier: MIT */
/*
 * The probe: what this kernel offers, which driver a runtime would choose, and why it would not
 * choose io_uring.
 */
#ifndef OURO_PROBE_H
#define OURO_PROBE_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_probe;

/* One optional feature, or one known misbehaviour (quirk), of the kernel. */
struct ouro_probe_item {
    const char *name;  /* "multishot-accept" */
    const char *what;  /* in a sentence */
    const char *since; /* the mainline version that brought it, "5.19"; for a quirk "" */
    const char *how;   /* how it was established: "setup flag", "performed", "self-test" */
    int present;       /* feature: found.  quirk: this kernel misbehaves */
    int required;      /* io_uring is not used without it */
    int trusted;       /* feature: no quirk found makes it unreliable */
    int used; /* feature: the runtime uses it here.  quirk: the runtime has a second path, which it
                 takes if the quirk is present or set in quirk_mask */
    const char *why_not; /* feature that is present and not used: why.  quirk that is present: what
                            the runtime does instead.  Else "" */
};

/*
 * Tests the kernel for every feature and quirk that ouro knows.  The probe makes some hundred
 * system calls, takes a few milliseconds, and uses only descriptors of its own.  The start of a
 * runtime tests less.
 *
 * Owns:    *out_probe is the caller's; release with ouro_probe_free().
 * Errors:  -EINVAL for NULL; -ENOMEM.  A kernel without io_uring is a result, not an error.
 * Threads: any; no runtime is needed.
 * Since:   0.1
 */
OURO_API int ouro_probe_new(struct ouro_probe **out_probe) OURO_MUST_CHECK;

/*
 * Releases a probe; NULL is ignored.
 *
 * Owns:    takes @probe.
 * Since:   0.1
 */
OURO_API void ouro_probe_free(struct ouro_probe *probe);

/*
 * Tells whether io_uring can run here: 1 when it can, 0 when a runtime would choose epoll.
 *
 * Errors:  none.
 * Since:   0.1
 */
OURO_API int ouro_probe_uring_usable(const struct ouro_probe *probe);

/*
 * Tells in one line why io_uring is not used; "" when it is.
 *
 * Owns:    the text is the probe's.
 * Since:   0.1
 */
OURO_API const char *ouro_probe_reason(const struct ouro_probe *probe);

/*
 * Tells in one line what to change so that io_uring can be used (the sysctl, the seccomp rule, the
 * memlock limit); "" when nothing needs to change.
 *
 * Owns:    the text is the probe's.
 * Since:   0.1
 */
OURO_API const char *ouro_probe_remedy(const struct ouro_probe *probe);

/*
 * Returns the kernel's release, such as "6.18.44".
 *
 * Owns:    the text is the probe's.
 * Since:   0.1
 */
OURO_API const char *ouro_probe_kernel(const struct ouro_probe *probe);

/*
 * Describes feature number @index, counted from 0.  The number is the bit in
 * ouro_runtime_config.feature_mask.
 *
 * Owns:    texts are constant.
 * Errors:  -ENOENT past the last; -EINVAL for NULL.
 * Since:   0.1
 */
OURO_API int ouro_probe_feature(const struct ouro_probe *probe, uint32_t index,
                                struct ouro_probe_item *out_item);

/*
 * Describes quirk number @index, counted from 0.  The number is the bit in
 * ouro_runtime_config.quirk_mask.  The bit has an effect if out_item->used is 1.
 *
 * Owns:    texts are constant.
 * Errors:  -ENOENT past the last; -EINVAL for NULL.
 * Since:   0.1
 */
OURO_API int ouro_probe_quirk(const struct ouro_probe *probe, uint32_t index,
                              struct ouro_probe_item *out_item);

#ifdef __cplusplus
}
#endif

#endif
