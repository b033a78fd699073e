/* SPDX-License-Identifier: MIT */
/*
 * Compiler: hints, attributes, sanitizer macros, and labels that say which thread may call a
 * function.
 */
#ifndef OURO_BASE_COMPILER_H
#define OURO_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define OURO__LIKELY(x) __builtin_expect(!!(x), 1)
#define OURO__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define OURO__NOINLINE __attribute__((noinline))
#define OURO__ALWAYS_INLINE __attribute__((always_inline)) inline
#define OURO__NORETURN __attribute__((noreturn))
#define OURO__COLD __attribute__((cold, noinline))
#define OURO__PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define OURO__ALIGNED(n) __attribute__((aligned(n)))

/* Shared cache lines come in pairs on today's x86-64 and on many aarch64 cores. */
#define OURO__CACHE_LINE 128

#define OURO__ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define OURO__CONTAINER_OF(ptr, type, member)                                                      \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * Labels for readers, and for a checker: a function marked OURO__DRIVER_THREAD is called on the
 * thread that owns the driver only; one marked OURO__ANY_THREAD may be called from anywhere.
 */
#if defined(__clang__)
#define OURO__DRIVER_THREAD __attribute__((annotate("ouro: driver thread")))
#define OURO__ANY_THREAD __attribute__((annotate("ouro: any thread")))
#else
#define OURO__DRIVER_THREAD
#define OURO__ANY_THREAD
#endif

#if defined(__has_feature)
#define OURO__HAS_FEATURE(x) __has_feature(x)
#else
#define OURO__HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || OURO__HAS_FEATURE(address_sanitizer)
#define OURO__ASAN 1
#else
#define OURO__ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || OURO__HAS_FEATURE(thread_sanitizer)
#define OURO__TSAN 1
#define OURO__NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define OURO__TSAN 0
#define OURO__NO_TSAN
#endif

/* A hint to the core that this is a spin loop. */
static inline void ouro__cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
