/* SPDX-License-Identifier: MIT */
/*
 * What the runtime has to do with the tables of features and quirks: which features it uses, and
 * for which quirks it has another path.  The rest of both tables is for `ouro probe` and
 * ouro-ktest.
 */
#ifndef OURO_PROBE_USES_H
#define OURO_PROBE_USES_H

#include "probe/feature.h"

/* OURO__FEATURE_BIT()s of what the runtime uses where it is present. */
uint64_t ouro__uring_uses(void);

/* OURO__FEATURE_BIT()s of what it asks for when it first needs it, and does without if the kernel
 * refuses.  A start does not look for these. */
uint64_t ouro__uring_uses_later(void);

/* Whether a runtime may run on io_uring here: all it uses of the tier works.  Stricter is
 * report->error == 0: then the whole tier that was looked for does. */
bool ouro__uring_runs_on(const struct ouro__feature_report *report);

/*
 * OURO__QUIRK_BIT()s of the quirks for which a backend has a second path, chosen by
 * ouro__driver_config.quirks.  A runtime's start tests these and no others.  The remaining quirks
 * cannot reach the runtime, because it never does what they are about.
 */
uint64_t ouro__uring_quirk_paths(void);

/* The name of the quirk found on this kernel that makes @feature untrustworthy; "" without one. */
const char *ouro__uring_distrusted_by(const struct ouro__feature_report *report,
                                      enum ouro__feature feature);

#endif
