/* SPDX-License-Identifier: MIT */
/*
 * The context switch: leave one stack, go on with another.
 *
 * A context is an address to go on at, a stack pointer and a frame pointer.  Nothing else is
 * stored: the switch is a few lines of assembler inlined where it is called, and it tells the
 * compiler that every other register is lost.  So the compiler saves, at each place, exactly the
 * values it still needs there - usually one or two - instead of the six (or twenty) callee-saved
 * registers that a switch written as a function always has to save.  And it ends in an indirect
 * jump rather than a return: the processor predicts returns from a stack of call sites, and after a
 * stack switch that prediction is always wrong.
 *
 * What is not switched, on purpose:
 * - MXCSR and the x87 control word (on aarch64 FPCR), that is rounding mode and exception masks.
 *   They belong to the thread here.  Storing and loading them costs more than the whole switch, and
 *   few programs change them; one that does must put them back before it suspends.  (swapcontext()
 *   does switch them, so with ucontext they are each fiber's own: rely on neither.)
 * - The signal mask.  It is the kernel's, a system call away, and is also the thread's.
 * - The shadow stack (CET SHSTK, aarch64 GCS).  A program that turns it on must use the ucontext
 *   build; we do not mark our objects as compatible with it.
 * - errno and other thread-local data: fibers stay on their thread, so it is the thread's.
 *
 * Three implementations behind the same names: assembler for x86-64 and aarch64; ucontext for all
 * others (and for anybody who builds with -DOURO_SWITCH_UCONTEXT); and the first again, but out of
 * line with the sanitizers' calls around it, when built with ASan or TSan.
 *
 * One rule for callers: no function that calls ouro__switch_to() may have both a variable-length
 * local and one aligned to more than 16 bytes, because clang then keeps a register for itself that
 * we say is lost.  -Wvla finds such functions.
 */
#ifndef OURO_FIBER_SWITCH_H
#define OURO_FIBER_SWITCH_H

#include "base/assert.h"
#include "base/compiler.h"

#if !defined(OURO_SWITCH_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define OURO_SWITCH_UCONTEXT 1
#endif
#if defined(OURO_SWITCH_UCONTEXT)
#include <ucontext.h>
#endif

/* Out of line, because a function that is half one fiber's and half another's must be opaque. */
#if defined(OURO_SWITCH_UCONTEXT) || OURO__ASAN || OURO__TSAN
#define OURO__SWITCH_INLINE 0
#else
#define OURO__SWITCH_INLINE 1
#endif

typedef void ouro__switch_entry_fn(void *arg);

/*
 * A suspended context.  Zero is not a context: init it, or adopt the thread, before switching.  It
 * must not move between init and fini.
 */
struct ouro__switch {
    void *ip; /* the assembler knows these three by their offsets: 0, 8, 16 */
    void *sp;
    void *fp;
#if !OURO__SWITCH_INLINE
    ouro__switch_entry_fn *entry;
    void *arg;
#endif
#if OURO__ASAN
    void *asan_fake_stack; /* where use-after-return detection keeps this context's frames */
    const void *asan_stack_low;
    size_t asan_stack_size;
#endif
#if OURO__TSAN
    void *tsan_fiber;
    int tsan_owned; /* made by init, to be destroyed by fini; not so for an adopted thread */
#endif
#if defined(OURO_SWITCH_UCONTEXT)
    ucontext_t ucontext;
#endif
};

#if OURO__SWITCH_INLINE
#define OURO__SWITCH_API static OURO__ALWAYS_INLINE
#else
#define OURO__SWITCH_API extern
#endif

/*
 * Makes @s a context that will call entry(arg) on the stack of @stack_size bytes at @stack_low when
 * it is first switched to.  @entry must not return.  The stack's top must be 16-byte aligned.
 * Writes the top 16 bytes of the stack; a backtrace ends there.
 */
OURO__SWITCH_API void ouro__switch_init(struct ouro__switch *s, void *stack_low, size_t stack_size,
                                        ouro__switch_entry_fn *entry, void *arg);

/* Makes @s stand for the calling thread's own stack, so that one can switch away from it and back.
 */
OURO__SWITCH_API void ouro__switch_adopt_thread(struct ouro__switch *s);

/* Forgets @s, which must not be the running context.  Its stack is the caller's to release. */
OURO__SWITCH_API void ouro__switch_fini(struct ouro__switch *s);

/* Saves the running context in @from and goes on with @to; returns when somebody switches to @from.
 */
OURO__SWITCH_API void ouro__switch_to(struct ouro__switch *from, struct ouro__switch *to);

/* Goes on with @to and never comes back: the end of @from, whose stack may be reused from then on.
 */
OURO__NORETURN OURO__SWITCH_API void ouro__switch_exit_to(struct ouro__switch *from,
                                                          struct ouro__switch *to);

/*
 * Prefetches the frames that @s will return through, while another context runs.  With many fibers
 * they have left the cache since it ran last, and its return would wait for one line after the
 * other.
 */
static inline void ouro__switch_prefetch(const struct ouro__switch *s)
{
#if !defined(OURO_SWITCH_UCONTEXT)
    /* From the switch up to the call that waits: the frames between them are the library's own. */
    const char *frames = s->sp;
    for (size_t i = 0; i < (size_t)4 * 64; i += 64)
        __builtin_prefetch(frames + i);
#else
    (void)s; /* only the C library knows where they are */
#endif
}

#if !defined(OURO_SWITCH_UCONTEXT)
/* Where a new context begins: the two words at the stack pointer are the function that it calls and
 * the argument (switch_*.S). */
void ouro__switch_start(void);

#if defined(__x86_64__)
#include "fiber/switch_x86_64.h"
#else
#include "fiber/switch_aarch64.h"
#endif

static inline void ouro__switch_prepare(struct ouro__switch *s, void *stack_low, size_t stack_size,
                                        ouro__switch_entry_fn *entry, void *arg)
{
    void **frame = (void **)(void *)((char *)stack_low + stack_size) - 2;
    OURO__ASSERT((uintptr_t)frame % 16 == 0);
    frame[0] = (void *)(uintptr_t)entry;
    frame[1] = arg;
    s->ip = (void *)(uintptr_t)ouro__switch_start;
    s->sp = frame;
    s->fp = NULL;
}
#endif

#if OURO__SWITCH_INLINE

OURO__SWITCH_API void ouro__switch_init(struct ouro__switch *s, void *stack_low, size_t stack_size,
                                        ouro__switch_entry_fn *entry, void *arg)
{
    ouro__switch_prepare(s, stack_low, stack_size, entry, arg);
}

OURO__SWITCH_API void ouro__switch_adopt_thread(struct ouro__switch *s)
{
    s->ip = s->sp = s->fp = NULL; /* filled by the first switch away */
}

OURO__SWITCH_API void ouro__switch_fini(struct ouro__switch *s)
{
    s->ip = s->sp = s->fp = NULL; /* so that a switch to it faults at address 0, and not anywhere */
}

OURO__SWITCH_API void ouro__switch_to(struct ouro__switch *from, struct ouro__switch *to)
{
    ouro__switch_jump(from, to);
}

OURO__NORETURN OURO__SWITCH_API void ouro__switch_exit_to(struct ouro__switch *from,
                                                          struct ouro__switch *to)
{
    ouro__switch_jump(from, to);
    __builtin_unreachable();
}

#endif
#endif
