/* SPDX-License-Identifier: MIT */
/*
 * What memory checkers are told about operations.  They see neither that the kernel writes into a
 * buffer nor that one thread receives what another has sent.  Without these calls they miss a
 * buffer that is freed while the kernel fills it, and report correct hand-overs as races.
 */
#ifndef OURO_URING_SANITIZE_H
#define OURO_URING_SANITIZE_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "registry/op.h"

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#define OURO__URING_VALGRIND 1
#endif
#endif
#ifndef OURO__URING_VALGRIND
#define OURO__URING_VALGRIND 0
#endif

/* Set by ouro__sanitize_init(): a checker is there. */
extern _Atomic bool ouro__sanitize_on;
/* It is Valgrind, which stops every other thread while one is in io_uring_enter(2). */
extern _Atomic bool ouro__sanitize_on_valgrind;

/* What memory an operation names. */
enum ouro__sanitize_memory {
    OURO__SANITIZE_NOTHING = 0,
    OURO__SANITIZE_ADDRESS,          /* arg.connect */
    OURO__SANITIZE_PEER,             /* arg.accept */
    OURO__SANITIZE_SENT,             /* arg.io, read by the kernel */
    OURO__SANITIZE_RECEIVED,         /* arg.io, written by it */
    OURO__SANITIZE_MESSAGE_SENT,     /* arg.message */
    OURO__SANITIZE_MESSAGE_RECEIVED, /* arg.message */
    OURO__SANITIZE_FILE_WRITTEN,     /* arg.file, read by the kernel */
    OURO__SANITIZE_FILE_READ,        /* arg.file, written by it */
    OURO__SANITIZE_KINDS
};

void ouro__sanitize_init(void);
OURO__COLD void ouro__sanitize_submit_slow(const struct ouro__op *op, unsigned memory);
OURO__COLD void ouro__sanitize_complete_slow(const struct ouro__op *op, unsigned memory,
                                             int32_t result);

/* To be called before the kernel gets the memory that @op names: all of it must be addressable. */
static inline void ouro__sanitize_submit(const struct ouro__op *op, unsigned memory)
{
    if (OURO__UNLIKELY(ouro__load(&ouro__sanitize_on, memory_order_relaxed)))
        ouro__sanitize_submit_slow(op, memory);
}

/* To be called when @op has ended: all its memory must still be addressable, and what the kernel
 * wrote becomes defined. */
static inline void ouro__sanitize_complete(const struct ouro__op *op, unsigned memory,
                                           int32_t result)
{
    if (OURO__UNLIKELY(ouro__load(&ouro__sanitize_on, memory_order_relaxed)))
        ouro__sanitize_complete_slow(op, memory, result);
}

#endif
