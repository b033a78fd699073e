/* SPDX-License-Identifier: MIT */
/*
 * The context switch as plain functions: for builds with a sanitizer, and for ucontext.
 *
 * A sanitizer tracks the current stack, so it must be called before each switch and after it.  ASan
 * needs the bounds of the next stack.  It also keeps the frames that use-after-return detection
 * moved to the heap, and frees them when it is told that the context has ended.  TSan has a fiber
 * object for each context, with a clock of its own; the switch orders what was before it in one
 * fiber with what is after it in the other, as one thread's program order would.  These functions
 * are not instrumented themselves: an entry seen on one stack whose exit is seen on another would
 * confuse both.
 *
 * ucontext is for processors without a switch of ours.  It changes the signal mask by a system call
 * each time, so it costs some 100 times as much.
 *
 * Owns:    a TSan fiber for each context made by ouro__switch_init().
 * Threads: a context is switched to, and finished, on the thread that made it.
 * Always:  what starts a switch of stacks in one context is finished in the other, in
 *          before_switch() and after_switch().
 * Tests:   tests/fiber/test_switch.c
 */
#include "fiber/switch.h"

#if !OURO__SWITCH_INLINE

#if OURO__ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if OURO__TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Clang's no_sanitize("thread") alone leaves the calls at a function's entry and exit in. */
#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define UNINSTRUMENTED __attribute__((noinline, disable_sanitizer_instrumentation))
#endif
#endif
#if !defined(UNINSTRUMENTED) && OURO__ASAN
#define UNINSTRUMENTED __attribute__((noinline, no_sanitize("address"), no_sanitize("undefined")))
#elif !defined(UNINSTRUMENTED) && OURO__TSAN
#define UNINSTRUMENTED __attribute__((noinline, no_sanitize("thread")))
#elif !defined(UNINSTRUMENTED)
#define UNINSTRUMENTED __attribute__((noinline))
#endif

/* @ends: @from will never run again.  Always inline, or it would be instrumented by itself. */
static OURO__ALWAYS_INLINE void before_switch(struct ouro__switch *from, struct ouro__switch *to,
                                              int ends)
{
    (void)from;
    (void)to;
    (void)ends;
#if OURO__ASAN
    __sanitizer_start_switch_fiber(ends ? NULL : &from->asan_fake_stack, to->asan_stack_low,
                                   to->asan_stack_size);
#endif
#if OURO__TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
}

/* In the context that goes on; @self is it. */
static OURO__ALWAYS_INLINE void after_switch(struct ouro__switch *self)
{
    (void)self;
#if OURO__ASAN
    __sanitizer_finish_switch_fiber(self->asan_fake_stack, NULL, NULL);
#endif
}

UNINSTRUMENTED static void first_steps(void *switch_of_self)
{
    struct ouro__switch *self = switch_of_self;
    after_switch(self);
    self->entry(self->arg);
    OURO__PANIC("a context's function returned", 0);
}

#if defined(OURO_SWITCH_UCONTEXT)

/* makecontext() passes ints only, so the pointer comes in two. */
UNINSTRUMENTED static void first_steps_in_halves(unsigned int high, unsigned int low)
{
    /* Shifted in two steps, because a pointer may be no wider than the shift. */
    uintptr_t address = (((uintptr_t)high << 16) << 16) | (uintptr_t)low;
    first_steps((void *)address);
}

static void ouro__switch_prepare(struct ouro__switch *s, void *stack_low, size_t stack_size)
{
    uintptr_t address = (uintptr_t)s;

    OURO__ASSERT(((uintptr_t)stack_low + stack_size) % 16 == 0);
    OURO__ASSERT(getcontext(&s->ucontext) == 0);
    s->ucontext.uc_stack.ss_sp = stack_low;
    s->ucontext.uc_stack.ss_size = stack_size;
    s->ucontext.uc_link = NULL;
    /* The cast is makecontext()'s own interface. */
    makecontext(&s->ucontext, (void (*)(void))(void *)first_steps_in_halves, 2,
                (unsigned int)((address >> 16) >> 16), (unsigned int)(address & 0xffffffffu));
}

static OURO__ALWAYS_INLINE void ouro__switch_jump(struct ouro__switch *from,
                                                  struct ouro__switch *to)
{
    OURO__ASSERT(swapcontext(&from->ucontext, &to->ucontext) == 0);
}

#endif

void ouro__switch_init(struct ouro__switch *s, void *stack_low, size_t stack_size,
                       ouro__switch_entry_fn *entry, void *arg)
{
    *s = (struct ouro__switch){.entry = entry, .arg = arg};
#if defined(OURO_SWITCH_UCONTEXT)
    ouro__switch_prepare(s, stack_low, stack_size);
#else
    ouro__switch_prepare(s, stack_low, stack_size, first_steps, s);
#endif
#if OURO__ASAN
    s->asan_stack_low = stack_low;
    s->asan_stack_size = stack_size;
#endif
#if OURO__TSAN
    s->tsan_fiber = __tsan_create_fiber(0);
    s->tsan_owned = 1;
#endif
}

void ouro__switch_adopt_thread(struct ouro__switch *s)
{
    *s = (struct ouro__switch){0};
#if OURO__ASAN
    pthread_attr_t attributes;
    void *low = NULL;
    OURO__ASSERT(pthread_getattr_np(pthread_self(), &attributes) == 0);
    OURO__ASSERT(pthread_attr_getstack(&attributes, &low, &s->asan_stack_size) == 0);
    (void)pthread_attr_destroy(&attributes);
    s->asan_stack_low = low;
#endif
#if OURO__TSAN
    s->tsan_fiber = __tsan_get_current_fiber();
#endif
}

void ouro__switch_fini(struct ouro__switch *s)
{
#if OURO__TSAN
    if (s->tsan_owned)
        __tsan_destroy_fiber(s->tsan_fiber);
    s->tsan_fiber = NULL;
    s->tsan_owned = 0;
#endif
    s->ip = s->sp = s->fp = NULL;
}

UNINSTRUMENTED void ouro__switch_to(struct ouro__switch *from, struct ouro__switch *to)
{
    before_switch(from, to, 0);
    ouro__switch_jump(from, to);
    after_switch(from);
}

UNINSTRUMENTED void ouro__switch_exit_to(struct ouro__switch *from, struct ouro__switch *to)
{
    before_switch(from, to, 1);
    ouro__switch_jump(from, to);
    __builtin_unreachable();
}

#else

/* An empty translation unit is not C. */
extern int ouro__switch_outline_unused;

#endif
