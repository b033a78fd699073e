/* SPDX-License-Identifier: MIT */
/*
 * The fault handler that tells a fiber's stack overflow from any other fault.
 *
 * A signal handler may come at any instruction, on any thread, so what it reads is built for that:
 * the registered pools are a linked list whose links are atomic; a pool is taken off by unlinking
 * it and then waiting until no handler is inside the list (stack_slab.h counts them).  The report
 * is put together in a local array and written by one write(2).
 *
 * After the report the default action is restored and the handler simply returns: the instruction
 * faults again, now fatally, and the core shows the fiber as it was.  A fault that is not ours is
 * handed to the handler that was there before, with the same arguments; where there was none, it
 * dies the same way.
 *
 * Owns:    nothing but the alternate stacks; the pools are their owners'.
 * Threads: install, add and remove under one lock; the handler takes none.
 * Always:  a handler inside the list counts as a watcher of slabs, so a removed pool is never
 *          looked at; earlier[] is filled before our handler can run.
 * Tests:   tests/fiber/test_overflow.c
 */
#include "fiber/overflow.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/coverage.h"
#include "base/text.h"
#include "fiber/stack.h"

#define ALTERNATE_STACK_BYTES ((size_t)64 * 1024)
#define NAME_MAX_BYTES 64

/* The signals that we handle, and their earlier handlers. */
static const int faults[2] = {SIGSEGV, SIGBUS};
static struct sigaction earlier[2];
static bool buried[2]; /* another handler is above ours, so ours could not be removed */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t installs;
static _Atomic(struct ouro__stack_pool *) pools;

/* The faulting code's stack pointer; 0 on processors where it is not known. */
static uintptr_t stack_pointer_of(const void *context)
{
    const ucontext_t *machine = context;
#if defined(__x86_64__)
    return (uintptr_t)machine->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (uintptr_t)machine->uc_mcontext.sp;
#else
    (void)machine;
    return 0;
#endif
}

static void write_report(const struct ouro__stack_pool *pool, const struct ouro__stack_info *stack,
                         uintptr_t address, uintptr_t stack_pointer)
{
    char buffer[256];
    struct ouro__text report = ouro__text_in(buffer, sizeof(buffer));
    /* Below the guard, it may be a frame larger than the guard, or the next fiber and a stray
     * pointer. */
    bool own = stack_pointer == 0 || (stack_pointer <= (uintptr_t)stack->header &&
                                      stack_pointer >= (uintptr_t)stack->guard_low);
    const char *known = pool->name_of ? pool->name_of(stack->header) : NULL;
    const char *name = known != NULL ? known : "?";

    if (own) {
        ouro__text_put(&report, "ouro: stack overflow in fiber '");
    } else {
        ouro__text_put(&report, "ouro: bad access to 0x");
        ouro__text_put_number_in(&report, address, 16);
        ouro__text_put(&report, ", in the guard below the stack of fiber '");
    }
    ouro__text_put_bytes(&report, name, strnlen(name, NAME_MAX_BYTES));
    ouro__text_put(&report, "' (usable ");
    ouro__text_put_number(&report, stack->usable_bytes);
    ouro__text_put(&report, own ? " bytes): raise stack_size_bytes\n"
                                : " bytes): a stray pointer, or a frame larger than the guard\n");
    ssize_t written = write(STDERR_FILENO, report.buffer, report.length);
    (void)written; /* there is no other way to report */
}

/* Whether the fault is in the guard of some pool; if so, reports it. */
static bool report_overflow(uintptr_t address, uintptr_t stack_pointer)
{
    bool found = false;

    ouro__stack_slab_watch_begin();
    for (struct ouro__stack_pool *pool = ouro__load(&pools, memory_order_seq_cst); pool && !found;
         pool = ouro__load(&pool->next_watched, memory_order_seq_cst)) {
        struct ouro__stack_info stack;
        if (ouro__stack_find(pool, (const void *)address, &stack) && stack.in_guard) {
            write_report(pool, &stack, address, stack_pointer);
            found = true;
        }
    }
    ouro__stack_slab_watch_end();
    return found;
}

static void set_default(int signal_number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigaction(signal_number, &action, NULL);
    ouro__coverage_write(); /* the program dies of it next */
}

static void pass_on(int signal_number, siginfo_t *info, void *context)
{
    const struct sigaction *action = &earlier[signal_number == faults[0] ? 0 : 1];
    bool sent = info->si_code <= 0; /* by kill() or the like: it does not come again by itself */

    if (action->sa_flags & SA_SIGINFO) {
        action->sa_sigaction(signal_number, info, context);
    } else if (action->sa_handler == SIG_IGN && sent) {
        return;
    } else if (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN) {
        /* The kernel does not let a fault be ignored either. */
        set_default(signal_number);
        if (sent)
            (void)raise(signal_number); /* pending until we return */
    } else {
        action->sa_handler(signal_number);
    }
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    int saved_errno = errno;

    if (info->si_code > 0 && report_overflow((uintptr_t)info->si_addr, stack_pointer_of(context))) {
        set_default(signal_number);
    } else {
        pass_on(signal_number, info, context);
    }
    errno = saved_errno;
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_fault;
}

static void take_out(size_t index)
{
    struct sigaction current;

    if (sigaction(faults[index], NULL, &current) != 0)
        return;
    buried[index] = !is_ours(&current);
    if (!buried[index])
        (void)sigaction(faults[index], &earlier[index], NULL);
}

static int put_in(size_t index)
{
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction current;

    (void)sigemptyset(&ours.sa_mask);
    if (sigaction(faults[index], NULL, &current) != 0)
        return -errno;
    /* Buried: another handler is above ours and calls it.  If ours were installed above that
     * handler again, the two would call each other for ever. */
    if (is_ours(&current) || buried[index])
        return 0;
    earlier[index] = current;
    return sigaction(faults[index], &ours, NULL) == 0 ? 0 : -errno;
}

int ouro__overflow_install(void)
{
    int result = 0;

    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; installs == 0 && result == 0 && i < OURO__ARRAY_LEN(faults); i++) {
        result = put_in(i);
        if (result != 0 && i > 0)
            take_out(0);
    }
    if (result == 0)
        installs++;
    (void)pthread_mutex_unlock(&lock);
    return result;
}

void ouro__overflow_uninstall(void)
{
    (void)pthread_mutex_lock(&lock);
    OURO__ASSERT(installs > 0);
    if (--installs == 0) {
        for (size_t i = 0; i < OURO__ARRAY_LEN(faults); i++)
            take_out(i);
    }
    (void)pthread_mutex_unlock(&lock);
}

int ouro__overflow_thread_start(struct ouro__overflow_thread *thread)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    /* The kernel's own frame is some KiB with the widest vector registers. */
    size_t bytes = ALTERNATE_STACK_BYTES + (size_t)getauxval(AT_MINSIGSTKSZ);
    stack_t current;

    bytes = (bytes + guard - 1) / guard * guard;
    if (sigaltstack(NULL, &current) != 0)
        return -errno;
    if (!(current.ss_flags & SS_DISABLE)) {
        *thread = (struct ouro__overflow_thread){.mapping = NULL};
        return 0;
    }

    char *mapping = mmap(NULL, guard + bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (mapping == MAP_FAILED)
        return -ENOMEM;
    stack_t ours = {.ss_sp = mapping + guard, .ss_size = bytes};
    if (mprotect(mapping, guard, PROT_NONE) != 0 || sigaltstack(&ours, NULL) != 0) {
        int error = -errno;
        (void)munmap(mapping, guard + bytes);
        return error;
    }
    *thread = (struct ouro__overflow_thread){.mapping = mapping, .mapping_bytes = guard + bytes};
    return 0;
}

void ouro__overflow_thread_stop(struct ouro__overflow_thread *thread)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    stack_t current;

    if (!thread->mapping)
        return;
    OURO__ASSERT(sigaltstack(NULL, &current) == 0);
    char *low = thread->mapping;
    /* Other code may have replaced our alternate stack since. */
    if ((char *)current.ss_sp > low && (char *)current.ss_sp < low + thread->mapping_bytes)
        OURO__ASSERT(sigaltstack(&none, NULL) == 0);
    OURO__ASSERT(munmap(thread->mapping, thread->mapping_bytes) == 0);
    thread->mapping = NULL;
}

void ouro__overflow_pool_add(struct ouro__stack_pool *pool, ouro__overflow_name_fn *name_of)
{
    (void)pthread_mutex_lock(&lock);
    pool->name_of = name_of;
    ouro__store(&pool->next_watched, ouro__load(&pools, memory_order_seq_cst),
                memory_order_seq_cst);
    ouro__store(&pools, pool, memory_order_seq_cst);
    (void)pthread_mutex_unlock(&lock);
}

void ouro__overflow_pool_remove(struct ouro__stack_pool *pool)
{
    (void)pthread_mutex_lock(&lock);
    _Atomic(struct ouro__stack_pool *) *link = &pools;
    while (ouro__load(link, memory_order_seq_cst) && ouro__load(link, memory_order_seq_cst) != pool)
        link = &ouro__load(link, memory_order_seq_cst)->next_watched;
    if (ouro__load(link, memory_order_seq_cst) == pool)
        ouro__store(link, ouro__load(&pool->next_watched, memory_order_seq_cst),
                    memory_order_seq_cst);
    (void)pthread_mutex_unlock(&lock);

    while (ouro__stack_slab_is_watched())
        ouro__cpu_relax();
}

#ifdef OURO_TESTING
unsigned ouro__overflow_pool_count(void)
{
    unsigned count = 0;

    (void)pthread_mutex_lock(&lock);
    for (struct ouro__stack_pool *pool = ouro__load(&pools, memory_order_seq_cst); pool;
         pool = ouro__load(&pool->next_watched, memory_order_seq_cst))
        count++;
    (void)pthread_mutex_unlock(&lock);
    return count;
}
#endif
