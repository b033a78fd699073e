/* SPDX-License-Identifier: MIT */
/*
 * Which of the kernel's features the runtime uses, and which quirk speaks against one.
 */
#ifndef OURO_PROBE_USES_H
#define OURO_PROBE_USES_H

#include "probe/feature.h"

/* OURO__FEATURE_BIT()s of what the runtime uses where it is present. */
uint64_t ouro__uring_uses(void);

/* The name of the quirk found on this kernel that makes @feature untrustworthy; "" without one. */
const char *ouro__uring_distrusted_by(const struct ouro__feature_report *report,
                                      enum ouro__feature feature);

#endif
