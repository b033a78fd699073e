/* SPDX-License-Identifier: MIT */
/*
 * The switch for x86-64, included by switch.h only.
 *
 * The two contexts come in rdi and rsi.  We store where to go on (the label at the end), rsp and
 * rbp, load the other context's, and jump.  Seen by the compiler nothing happens but that registers
 * and memory change, which is what a suspended function sees when it goes on.
 *
 * - rbp is stored and not in the list of lost registers: as a frame pointer it cannot be listed.
 * - Nothing is pushed, so the 128 bytes below rsp that a leaf function may use stay as they are.
 * - The label is a local number, so the code may be inlined or unrolled any number of times.
 * - With indirect branch tracking (-fcf-protection=branch) the label needs an endbr64.
 * - Vector registers are lost whole, x87 and MMX too.  The control words are not touched.
 */
#ifndef OURO_FIBER_SWITCH_X86_64_H
#define OURO_FIBER_SWITCH_X86_64_H

#if defined(__CET__) && (__CET__ & 1)
#define OURO__SWITCH_LAND "endbr64\n"
#else
#define OURO__SWITCH_LAND ""
#endif

#if defined(__AVX512F__)
#define OURO__SWITCH_LOST_AVX512                                                                   \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define OURO__SWITCH_LOST_AVX512
#endif

#if defined(__APX_F__)
#error "the registers r16 to r31 of APX are missing from the list of lost registers"
#endif

static OURO__ALWAYS_INLINE void ouro__switch_jump(struct ouro__switch *from,
                                                  struct ouro__switch *to)
{
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, 0(%%rdi)\n\t"
                     "movq %%rsp, 8(%%rdi)\n\t"
                     "movq %%rbp, 16(%%rdi)\n\t"
                     "movq 8(%%rsi), %%rsp\n\t"
                     "movq 16(%%rsi), %%rbp\n\t"
                     "jmpq *0(%%rsi)\n"
                     "1:\n\t" OURO__SWITCH_LAND
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15" OURO__SWITCH_LOST_AVX512, "mm0", "mm1", "mm2", "mm3", "mm4", "mm5",
                       "mm6", "mm7", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)",
                       "st(7)", "memory", "cc");
}

#endif
