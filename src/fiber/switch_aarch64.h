/* SPDX-License-Identifier: MIT */
/*
 * The switch for aarch64, included by switch.h only; switch_x86_64.h explains the idea.
 *
 * x29, the frame pointer, is stored; sp and the label too; x0 to x28, the link register and all
 * vector registers (SVE's with them) are lost.  The jump goes through x16, the one register from
 * which a branch may land on a "bti c" as well as on a "bti j": the first for a new context, the
 * second for one that goes on here.
 */
#ifndef OURO_FIBER_SWITCH_AARCH64_H
#define OURO_FIBER_SWITCH_AARCH64_H

#if defined(__ARM_FEATURE_BTI_DEFAULT)
#define OURO__SWITCH_LAND "hint #36\n" /* bti j */
#else
#define OURO__SWITCH_LAND ""
#endif

#if defined(__ARM_FEATURE_SVE)
#define OURO__SWITCH_LOST_SVE                                                                      \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13",      \
        "p14", "p15"
#else
#define OURO__SWITCH_LOST_SVE
#endif

static OURO__ALWAYS_INLINE void ouro__switch_jump(struct ouro__switch *from,
                                                  struct ouro__switch *to)
{
    register struct ouro__switch *from_x0 __asm__("x0") = from;
    register struct ouro__switch *to_x1 __asm__("x1") = to;

    __asm__ volatile("adr x2, 1f\n\t"
                     "mov x3, sp\n\t"
                     "stp x2, x3, [x0]\n\t"
                     "str x29, [x0, #16]\n\t"
                     "ldp x16, x3, [x1]\n\t"
                     "ldr x29, [x1, #16]\n\t"
                     "mov sp, x3\n\t"
                     "br x16\n"
                     "1:\n\t" OURO__SWITCH_LAND
                     : "+r"(from_x0), "+r"(to_x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31" OURO__SWITCH_LOST_SVE, "memory", "cc");
}

#endif
