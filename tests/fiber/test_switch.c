/* SPDX-License-Identifier: MIT */
/*
 * The context switch: a context goes on exactly where it was, with all it had.
 *
 * What a compiler may keep in registers over a switch differs from build to build, so these tests
 * keep more values alive than there are registers, of each kind, on both sides of the switch.
 *
 * Owns:    the stacks of its contexts, taken from a pool.
 * Threads: one.
 */
#include "support/ouro_test.h"

#include <execinfo.h>
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "fiber/stack.h"
#include "fiber/switch.h"

#define STACK_BYTES ((size_t)256 * 1024) /* the sanitizers' frames are large */

static struct ouro__switch home;
static struct ouro__switch away;
static char *stack;

static void start(ouro__switch_entry_fn *entry, void *arg)
{
    stack = ouro__alloc_aligned(64, STACK_BYTES);
    ck_assert_ptr_nonnull(stack);
    ouro__switch_adopt_thread(&home);
    ouro__switch_init(&away, stack, STACK_BYTES, entry, arg);
}

static void end(void)
{
    ouro__switch_fini(&away);
    ouro__switch_fini(&home);
    ouro__free(stack);
}

static void count_turns(void *arg)
{
    int *turns = arg;
    for (;;) {
        ++*turns;
        ouro__switch_to(&away, &home);
    }
}

OURO_TEST_UNIT(switches_there_and_back)
{
    int turns = 0;
    start(count_turns, &turns);
    for (int i = 1; i <= 1000; i++) {
        ouro__switch_to(&home, &away);
        ck_assert_int_eq(turns, i);
    }
    end();
}

/* Two switches in one function, in an unrolled loop: the same code inlined many times. */
OURO_TEST_UNIT(can_be_inlined_in_several_places)
{
    int turns = 0;
    start(count_turns, &turns);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i++) {
        ouro__switch_to(&home, &away);
        ck_assert_int_eq(turns, 2 * i + 1);
        ouro__switch_to(&home, &away);
        ck_assert_int_eq(turns, 2 * i + 2);
    }
    end();
}

/*
 * 24 integers, 24 doubles and a long double, each derived from @seed in a way the compiler can't
 * see through, alive over @switches switches.  Returns how many of them were wrong at the end.
 */
#define MANY 24
__attribute__((noinline)) static int hold_many(struct ouro__switch *from, struct ouro__switch *to,
                                               uint64_t seed, int switches)
{
    volatile uint64_t hidden = seed;
    uint64_t whole[MANY];
    double real[MANY];
    long double wide = (long double)hidden / 7;
    int wrong = 0;

    for (unsigned int i = 0; i < MANY; i++) {
        whole[i] = hidden * (i + 1);
        real[i] = (double)hidden / (i + 3);
    }
    for (int s = 0; s < switches; s++) {
        ouro__switch_to(from, to);
        /* Used and changed each time, so that they are worth a register. */
        for (unsigned int i = 0; i < MANY; i++) {
            whole[i] += i;
            real[i] *= 2;
        }
        wide *= 2;
    }
    for (unsigned int i = 0; i < MANY; i++) {
        wrong += whole[i] != hidden * (i + 1) + (uint64_t)switches * i;
        wrong += memcmp(&real[i], &(double){ldexp((double)hidden / (i + 3), switches)}, 8) != 0;
    }
    wrong += wide != ldexpl((long double)hidden / 7, switches);
    return wrong;
}

static int wrong_away;

static void hold_many_away(void *arg)
{
    const uint64_t *seed = arg;
    wrong_away = hold_many(&away, &home, *seed, 40);
    ouro__switch_exit_to(&away, &home);
}

OURO_TEST_UNIT(keeps_more_values_than_there_are_registers)
{
    uint64_t seed = 0x9e3779b97f4a7c15;
    wrong_away = -1;
    start(hold_many_away, &seed);
    ck_assert_int_eq(hold_many(&home, &away, 0xdeadbeefcafe, 41), 0);
    ck_assert_int_eq(wrong_away, 0);
    end();
}

/* Named scalars: these do get the callee-saved registers. */
__attribute__((noinline)) static uint64_t hold_scalars(struct ouro__switch *from,
                                                       struct ouro__switch *to, uint64_t a,
                                                       uint64_t b, uint64_t c, uint64_t d)
{
    volatile uint64_t one = 1;
    uint64_t e = a * 3 + one, f = b * 5 + one, g = c * 7 + one, h = d * 11 + one;
    double x = (double)a * 0.5, y = (double)b * 0.25, z = (double)c * 0.125;

    for (int i = 0; i < 100; i++) {
        ouro__switch_to(from, to);
        a += e;
        b += f;
        c += g;
        d += h;
        x += y;
        y += z;
        e ^= d;
        f ^= a;
        g ^= b;
        h ^= c;
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ (uint64_t)(x + y + z);
}

static uint64_t sum_away;

static void hold_scalars_away(void *arg)
{
    (void)arg;
    sum_away = hold_scalars(&away, &home, 1001, 2003, 3007, 4013);
    ouro__switch_exit_to(&away, &home);
}

static void only_switch_back(void *arg)
{
    (void)arg;
    for (;;)
        ouro__switch_to(&away, &home);
}

OURO_TEST_UNIT(gives_the_same_sums_whoever_is_on_the_other_side)
{
    start(only_switch_back, NULL);
    uint64_t first = hold_scalars(&home, &away, 1001, 2003, 3007, 4013);
    uint64_t second = hold_scalars(&home, &away, 17, 19, 23, 29);
    end();

    start(hold_scalars_away, NULL);
    ck_assert_uint_eq(hold_scalars(&home, &away, 17, 19, 23, 29), second);
    ouro__switch_to(&home, &away);
    ck_assert_uint_eq(sum_away, first);
    end();
}

static uintptr_t frame_address;

static void note_frame(void *arg)
{
    /* Stored through the stack with the widest aligned moves; these fault if it is misaligned. */
    OURO__ALIGNED(16) volatile double aligned[8] = {0};
    frame_address = (uintptr_t)__builtin_frame_address(0);
    aligned[0] = 1;
    ck_assert_uint_eq((uintptr_t)aligned % 16, 0);
    ck_assert_ptr_eq(arg, &frame_address);
    ouro__switch_exit_to(&away, &home);
}

OURO_TEST_UNIT(begins_with_an_aligned_stack_near_its_top)
{
    frame_address = 0;
    start(note_frame, &frame_address);
    ouro__switch_to(&home, &away);
    ck_assert_uint_eq(frame_address % 16, 0);
    ck_assert_uint_gt(frame_address, (uintptr_t)stack);
    ck_assert_uint_lt(frame_address, (uintptr_t)stack + STACK_BYTES);
    end();
}

static int frames_seen;

static void walk_stack(void *arg)
{
    void *frames[64];
    (void)arg;
    frames_seen = backtrace(frames, 64);
    ouro__switch_exit_to(&away, &home);
}

OURO_TEST_UNIT(ends_backtraces_where_a_context_begins)
{
    void *warm_up[2];
    (void)backtrace(warm_up, 2); /* loads the unwinder, which allocates */
    frames_seen = -1;
    start(walk_stack, NULL);
    ouro__switch_to(&home, &away);
    /* walk_stack, where it was called from, and what a sanitizer puts between. */
    ck_assert_int_ge(frames_seen, 1);
    ck_assert_int_le(frames_seen, 6);
    end();
}

static void set_rounding_and_return(void *arg)
{
    (void)arg;
    ck_assert_int_eq(fesetround(FE_UPWARD), 0);
    ouro__switch_to(&away, &home);
    ouro__switch_exit_to(&away, &home);
}

/* Documented: the rounding mode is the thread's.  ucontext makes it each context's. */
OURO_TEST_UNIT(leaves_the_rounding_mode_alone)
{
#if defined(OURO_SWITCH_UCONTEXT)
    ouro_test_skip("swapcontext() switches the floating-point environment");
#endif
    start(set_rounding_and_return, NULL);
    ouro__switch_to(&home, &away);
    ck_assert_int_eq(fegetround(), FE_UPWARD);
    ck_assert_int_eq(fesetround(FE_TONEAREST), 0);
    end();
}

/* A ring of contexts on pooled stacks, each passing on to the next. */
#define RING 200

struct member {
    struct ouro__switch context;
    struct member *next;
    uint64_t visits;
};

static void visit(void *arg)
{
    struct member *self = arg;
    for (;;) {
        self->visits++;
        ouro__switch_to(&self->context, self->next ? &self->next->context : &home);
    }
}

OURO_TEST_UNIT(passes_round_a_ring)
{
    struct ouro__stack_pool pool;
    struct ouro__stack_pool_config config = {.header_size_bytes = sizeof(struct member),
                                             .use_madv_guard = true};
    struct member *members[RING];

    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), 0);
    ouro__switch_adopt_thread(&home);
    for (int i = RING - 1; i >= 0; i--) {
        members[i] = ouro__stack_get(&pool);
        ck_assert_ptr_nonnull(members[i]);
        members[i]->next = i < RING - 1 ? members[i + 1] : NULL;
        members[i]->visits = 0;
        char *low = ouro__stack_low(&pool, members[i]);
        ouro__switch_init(&members[i]->context, low, (size_t)((char *)members[i] - low), visit,
                          members[i]);
    }
    for (uint64_t turn = 1; turn <= 50; turn++) {
        ouro__switch_to(&home, &members[0]->context);
        for (int i = 0; i < RING; i++)
            ck_assert_uint_eq(members[i]->visits, turn);
    }
    for (int i = 0; i < RING; i++) {
        ouro__switch_fini(&members[i]->context);
        ouro__stack_put(&pool, members[i]);
    }
    ouro__switch_fini(&home);
    ouro__stack_pool_fini(&pool);
}

static volatile bool really = true; /* or compilers see that the recursion never returns */

static void end_deep(int depth)
{
    volatile char frame[256];

    for (size_t i = 0; i < sizeof(frame); i++)
        frame[i] = (char)depth;
    if (depth > 0)
        end_deep(depth - 1);
    else if (really)
        ouro__switch_exit_to(&away, &home);
    ck_assert_int_eq(frame[0], depth); /* not reached; keeps the frame */
}

static void end_from_below(void *arg)
{
    ++*(int *)arg;
    end_deep(50);
}

/* A context may end with frames still on its stack; the next on that stack must not mind. */
OURO_TEST_UNIT(reuses_a_stack_whose_context_ended_deep_inside)
{
    struct ouro__stack_pool pool;
    struct ouro__stack_pool_config config = {.usable_size_bytes = STACK_BYTES,
                                             .header_size_bytes = 64};
    int lives = 0;
    void *first = NULL;

    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), 0);
    ouro__switch_adopt_thread(&home);
    for (int i = 1; i <= 100; i++) {
        char *header = ouro__stack_get(&pool);
        char *low = ouro__stack_low(&pool, header);
        first = first ? first : header;
        ck_assert_ptr_eq(header, first);
        ouro__switch_init(&away, low, (size_t)(header - low), end_from_below, &lives);
        ouro__switch_to(&home, &away);
        ck_assert_int_eq(lives, i);
        ouro__switch_fini(&away);
        ouro__stack_put(&pool, header);
    }
    ouro__switch_fini(&home);
    ouro__stack_pool_fini(&pool);
}
