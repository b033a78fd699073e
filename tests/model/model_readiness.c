/* SPDX-License-Identifier: MIT */
/*
 * Models of the readiness word: a driver that sets, tasks that clear what they saw, a shutdown.
 */
#include "model/explorer.h"

#include "registry/readiness.h"

#define READ_TICK(word) (((word) >> OURO__READ_TICK_SHIFT) & OURO__TICK_MASK)

static _Atomic uint64_t word;
static unsigned arrived; /* what the kernel has for the reader */
static unsigned taken;
static uint32_t own; /* the direction in question */
static uint32_t other;

/* Both ticks one before they wrap, or anywhere else. */
static void begin_anywhere(void)
{
    own = model_choose(2) == 0 ? OURO_READABLE : OURO_WRITABLE;
    other = own ^ (OURO_READABLE | OURO_WRITABLE);
    static const uint64_t starts[] = {0, OURO__TICK_MASK, OURO__TICK_MASK - 1, 0xff, 0xffff};
    uint64_t tick = starts[model_choose(OURO__ARRAY_LEN(starts))];
    atomic_store(&word, tick << OURO__READ_TICK_SHIFT | tick << OURO__WRITE_TICK_SHIFT);
    arrived = 0;
    taken = 0;
}

static void begin_at_zero(void)
{
    own = OURO_READABLE;
    atomic_store(&word, 0);
    arrived = 0;
    taken = 0;
}

static bool is_ready(void *arg)
{
    (void)arg;
    return (atomic_load(&word) & own) != 0;
}

/* Reads (or writes) until it has @wanted: tries, and after an empty try clears what it saw and
 * waits. */
static void read_until(unsigned wanted)
{
    while (taken < wanted) {
        model_wait_until(is_ready, NULL);
        uint64_t seen = ouro__load(&word, memory_order_acquire);
        if ((seen & own) == 0)
            continue;
        ouro__model_point(); /* the system call */
        unsigned got = arrived;
        arrived = 0;
        model_note("reads %u", got);
        if (got == 0)
            (void)ouro__readiness_clear(&word, seen, own);
        taken += got;
    }
}

static void arrive(uint32_t ready)
{
    ouro__model_point(); /* the kernel's */
    arrived++;
    model_note("data arrives");
    uint64_t before = ouro__readiness_set(&word, ready);
    model_note("set, tick was %llx", (unsigned long long)READ_TICK(before));
}

enum { EDGES = 3 };

static void three_edges(void)
{
    for (int i = 0; i < EDGES; i++)
        arrive(own);
}

static void read_three(void)
{
    read_until(EDGES);
}

/* Events of the other direction around each edge. */
static void edges_of_both_directions(void)
{
    (void)ouro__readiness_set(&word, other);
    arrive(own);
    (void)ouro__readiness_set(&word, other);
    arrive(own | other);
}

static void read_two(void)
{
    read_until(2);
}

/* Between a look and its clear come as many events as make a narrow tick look unchanged. */
static void burst(void)
{
    static const unsigned sizes[] = {1, 1 << 8, 1 << 15, 1 << 16};
    unsigned size = sizes[model_choose(OURO__ARRAY_LEN(sizes))];
    arrive(own);
    ouro__model_point();
    model_quiet(true);
    for (unsigned i = 1; i < size; i++)
        (void)ouro__readiness_set(&word, OURO_READABLE);
    arrived++;
    (void)ouro__readiness_set(&word, OURO_READABLE);
    model_quiet(false);
    model_note("%u more edges, the last with data", size);
}

/* A later event of the other direction must not keep this one from being cleared; otherwise the
 * waiter spins. */
static void begin_ready(void)
{
    begin_anywhere();
    (void)ouro__readiness_set(&word, OURO_READABLE | OURO_WRITABLE);
}

static void forget_own(void)
{
    uint64_t seen = ouro__load(&word, memory_order_acquire);
    (void)ouro__readiness_clear(&word, seen, own);
    MODEL_CHECK((atomic_load(&word) & own) == 0);
}

static uint32_t extra(void)
{
    return other == OURO_WRITABLE ? OURO_ERROR : OURO_PRIORITY;
}

static void other_twice(void)
{
    (void)ouro__readiness_set(&word, other);
    (void)ouro__readiness_set(&word, other | extra());
}

static void other_stays(void)
{
    MODEL_CHECK((atomic_load(&word) & (other | extra())) == (other | extra()));
}

static void begin_at_wrap(void)
{
    begin_at_zero();
    atomic_store(&word, OURO__TICK_MASK << OURO__READ_TICK_SHIFT | OURO__TICK_MASK
                                                                       << OURO__WRITE_TICK_SHIFT);
}

/* Final bits stay, whatever is cleared and when. */
static void close_both(void)
{
    (void)ouro__readiness_set(&word, OURO_READABLE | OURO_READ_CLOSED);
    (void)ouro__readiness_set(&word, OURO_WRITABLE | OURO_WRITE_CLOSED);
}

static void clear_all_twice(void)
{
    for (int i = 0; i < 2; i++) {
        uint64_t seen = ouro__load(&word, memory_order_acquire);
        (void)ouro__readiness_clear(&word, seen, OURO__READY_ALL);
    }
}

static void shut_down(void)
{
    (void)ouro__readiness_shut_down(&word);
    MODEL_CHECK(ouro__readiness_is_shutdown(ouro__load(&word, memory_order_acquire)));
}

static void all_final(void)
{
    MODEL_CHECK(ouro__readiness_is_shutdown(atomic_load(&word)));
    MODEL_CHECK((atomic_load(&word) & OURO__READY_FINAL) == OURO__READY_FINAL);
}

static const struct model models[] = {
    {.name = "no edge is lost",
     .begin = begin_anywhere,
     .thread = {read_three, three_edges},
     .preemptions = MODEL_ANY},
    {.name = "no edge is lost beside the other direction",
     .begin = begin_anywhere,
     .thread = {read_two, edges_of_both_directions},
     .preemptions = MODEL_ANY},
    {.name = "no edge is lost in a burst",
     .begin = begin_at_zero,
     .thread = {read_two, burst},
     .preemptions = MODEL_ANY},
    {.name = "directions do not disturb each other",
     .begin = begin_ready,
     .thread = {forget_own, other_twice},
     .end = other_stays,
     .preemptions = MODEL_ANY},
    {.name = "final bits survive every clear",
     .begin = begin_at_wrap,
     .thread = {close_both, clear_all_twice, shut_down},
     .end = all_final,
     .preemptions = MODEL_ANY},
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
