/* SPDX-License-Identifier: MIT */
/*
 * The first instructions of every context on aarch64: call the function at [sp] with the argument
 * at [sp, 8].  Frame pointer and link register are zero, and "undefined x30" ends a backtrace here.
 */
#if defined(__aarch64__) && !defined(OURO_SWITCH_UCONTEXT)

        .text
        .globl  ouro__switch_start
        .hidden ouro__switch_start
        .type   ouro__switch_start, %function
        .p2align 4
ouro__switch_start:
        .cfi_startproc
        .cfi_undefined x30
        hint    #34                     /* bti c; does nothing where there is no BTI */
        ldp     x1, x0, [sp]
        mov     x29, #0
        mov     x30, #0
        blr     x1
        brk     #1
        .cfi_endproc
        .size   ouro__switch_start, . - ouro__switch_start

#if defined(__ARM_FEATURE_BTI_DEFAULT)
        .section .note.gnu.property, "a"
        .p2align 3
        .word   4, 16, 5                /* name size, descriptor size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0     /* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI */
#endif

#endif

        .section .note.GNU-stack, "", %progbits
