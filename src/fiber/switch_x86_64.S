/* SPDX-License-Identifier: MIT */
/*
 * The first instructions of every context on x86-64.
 *
 * ouro__switch_prepare() left the function to call at 0(%rsp) and its argument at 8(%rsp), with rsp
 * a multiple of 16, as the ABI wants it at a call.  The function does not return; if it does, stop
 * right there.  Unwinders learn from "undefined rip" that this frame has no caller.
 */
#if defined(__x86_64__) && !defined(OURO_SWITCH_UCONTEXT)

#ifdef __CET__
#include <cet.h>
#else
#define _CET_ENDBR
#endif

        .text
        .globl  ouro__switch_start
        .hidden ouro__switch_start
        .type   ouro__switch_start, @function
        .p2align 4
ouro__switch_start:
        .cfi_startproc
        .cfi_undefined rip
        _CET_ENDBR
        movq    8(%rsp), %rdi
        xorl    %ebp, %ebp
        call    *(%rsp)
        ud2
        .cfi_endproc
        .size   ouro__switch_start, . - ouro__switch_start

#endif

        .section .note.GNU-stack, "", @progbits
