/* SPDX-License-Identifier: MIT */
/*
 * ProxyTargets: round robin or least connections among the targets that work.
 *
 * Health is passive: nothing is sent to a target for its own sake, the connections of clients are
 * the test.
 *
 *   healthy    --failed-->  left out for a time
 *   left out   --its time is over-->  on trial: the next connection tries it, others go elsewhere
 *   on trial   --failed-->  left out for twice the time, up to a bound
 *   on trial   --connected-->  healthy
 *
 * A target on trial is left out for the others while the trial lasts, so that a dead one costs one
 * client its connect timeout and not all of them.  The time is a bound: a trial that has told
 * nothing when it is over is followed by another one.
 *
 * Attempts that were under way at the same time and fail together are one failure: each compares
 * the number of failures it began with.  Otherwise a burst of connections would at once leave the
 * target out for the longest time.
 *
 * When all targets are left out they are tried all the same, the one first whose time is over
 * first.  Refusing would be no better for the client, and a target that has come back serves at
 * once.  These attempts do not make the time longer.
 *
 * Owns:    the list.
 * Threads: any; the lock is held for a few instructions and never while waiting.
 */
#include "proxy_targets.h"

static bool is_out(const struct proxy_target *target, int64_t now_ns)
{
    return target->failures > 0 && target->out_until_ns > now_ns;
}

/* How long @failures leave a target out. */
static int64_t time_out_ns(const struct proxy_targets *targets, unsigned failures)
{
    int64_t time_ns = targets->out_first_ns;
    for (unsigned i = 1; i < failures && time_ns < targets->out_max_ns; i++)
        time_ns *= 2;
    return time_ns < targets->out_max_ns ? time_ns : targets->out_max_ns;
}

/* Whether @left goes before @right; both are in, or both are out. */
static bool goes_before(const struct proxy_targets *targets, const struct proxy_target *left,
                        const struct proxy_target *right, bool are_out)
{
    if (are_out)
        return left->out_until_ns < right->out_until_ns;
    return targets->balance == PROXY_LEAST_CONNECTIONS && left->active < right->active;
}

static bool choose_among(const struct proxy_targets *targets, int64_t now_ns, uint64_t tried,
                         bool are_out, size_t *out_index)
{
    bool found = false;
    for (size_t i = 0; i < targets->count; i++) {
        size_t index = (targets->next + i) % targets->count;
        const struct proxy_target *target = &targets->list[index];
        if ((tried >> index & 1) != 0 || is_out(target, now_ns) != are_out)
            continue;
        if (!found || goes_before(targets, target, &targets->list[*out_index], are_out))
            *out_index = index;
        found = true;
    }
    return found;
}

bool proxy_targets_choose(struct proxy_targets *targets, int64_t now_ns, uint64_t *tried,
                          struct proxy_choice *out_choice)
{
    size_t index = 0;
    pthread_mutex_lock(&targets->lock);
    bool is_in = choose_among(targets, now_ns, *tried, false, &index);
    bool found = is_in || choose_among(targets, now_ns, *tried, true, &index);
    if (found) {
        struct proxy_target *target = &targets->list[index];
        *out_choice = (struct proxy_choice){
            .index = index, .failures = target->failures, .is_last_resort = !is_in};
        *tried |= UINT64_C(1) << index;
        target->active++;
        if (is_in)
            targets->next = (index + 1) % targets->count;
        if (is_in && target->failures > 0) /* on trial */
            target->out_until_ns = now_ns + time_out_ns(targets, target->failures);
    }
    pthread_mutex_unlock(&targets->lock);
    return found;
}

bool proxy_targets_connected(struct proxy_targets *targets, const struct proxy_choice *choice)
{
    struct proxy_target *target = &targets->list[choice->index];
    pthread_mutex_lock(&targets->lock);
    bool was_out = target->failures > 0;
    target->failures = 0;
    target->connected++;
    pthread_mutex_unlock(&targets->lock);
    return was_out;
}

int64_t proxy_targets_failed(struct proxy_targets *targets, const struct proxy_choice *choice,
                             int64_t now_ns)
{
    struct proxy_target *target = &targets->list[choice->index];
    int64_t time_ns = 0;
    pthread_mutex_lock(&targets->lock);
    target->active--;
    target->failed++;
    if (!choice->is_last_resort && target->failures == choice->failures) {
        target->failures++;
        time_ns = time_out_ns(targets, target->failures);
        target->out_until_ns = now_ns + time_ns;
    }
    pthread_mutex_unlock(&targets->lock);
    return time_ns;
}

void proxy_targets_end(struct proxy_targets *targets, const struct proxy_choice *choice)
{
    pthread_mutex_lock(&targets->lock);
    targets->list[choice->index].active--;
    pthread_mutex_unlock(&targets->lock);
}

void proxy_targets_read(struct proxy_targets *targets, size_t index, int64_t now_ns,
                        struct proxy_target *out_target, bool *out_is_out)
{
    pthread_mutex_lock(&targets->lock);
    *out_target = targets->list[index];
    *out_is_out = is_out(out_target, now_ns);
    pthread_mutex_unlock(&targets->lock);
}
