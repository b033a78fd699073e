/* SPDX-License-Identifier: MIT */
/*
 * Look-ups: a name is resolved by getaddrinfo(3) on a thread of the blocking pool.
 *
 * getaddrinfo(3) cannot be interrupted, and takes half a minute when the name server is down.  So a
 * look-up lies on the heap, and its state decides who releases it:
 *
 *     WAITED --- the pool has the answer ---> DONE             the waiter releases it
 *     WAITED --- the waiter is interrupted ---> ABANDONED      the pool releases it
 *
 * The waiter's waker has the same owner: in DONE the pool wakes and drops it, in ABANDONED the
 * waiter drops it, so that a thread which hangs in the resolver keeps no task or runtime alive.
 *
 * Owns:    its look-ups.
 * Threads: waiters are fibers or entered threads; answers come from pool threads.
 * Always:  a look-up touches nothing but itself.
 * Tests:   tests/net/test_resolve.c, tests/net/test_resolve_shortage.c
 */
#include "net/resolve.h"

#include <ouro/error.h>
#include <ouro/waker.h>

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/kernel.h"
#include "blocking/pool.h"
#include "task/handle.h"
#include "task/wait.h"

/* The most descriptors that one look-up opens at a time; see check_descriptors(). */
enum { DESCRIPTORS_NEEDED = 8 };

enum lookup_state { LOOKUP_WAITED = 0, LOOKUP_DONE, LOOKUP_ABANDONED };

struct lookup {
    struct ouro__blocking_job job;
    struct ouro__name_query query;
    struct ouro_waker waker;
    _Atomic uint32_t state;        /* enum lookup_state */
    int error;                     /* 0: the list is the answer */
    struct ouro_socket_addr *list; /* NULL or the look-up's own */
    size_t count;
};

#ifdef OURO_TESTING
static ouro__getaddrinfo_function *resolver = getaddrinfo;

void ouro__resolve_use(ouro__getaddrinfo_function *function)
{
    resolver = function != NULL ? function : getaddrinfo;
}
#else
#define resolver getaddrinfo
#endif

static void release(struct lookup *lookup)
{
    ouro__free(lookup->list);
    ouro__free(lookup);
}

/*
 * Whether the resolver can open what it needs.  glibc opens nsswitch.conf, hosts and resolv.conf, a
 * socket for each of three name servers, one to sort the answers by and one for its modules.  When
 * it can't open a file it gives no such error: it reports "name not known", and may keep what it
 * concluded from the missing file for the life of the process.
 * Errors: -EMFILE, -ENFILE, -ENOMEM.
 */
static int check_descriptors(void)
{
    int fds[DESCRIPTORS_NEEDED];
    int count = 0;
    int rc = ouro__kernel_socket(AF_UNIX, SOCK_DGRAM, 0);
    while (rc >= 0) {
        fds[count++] = rc;
        if (count == DESCRIPTORS_NEEDED)
            break;
        rc = ouro__kernel_dup(fds[0]);
    }
    for (int i = 0; i < count; i++)
        ouro__kernel_close(fds[i]);
    /* Other errors do not mean a shortage of descriptors; the look-up goes on. */
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? rc : 0;
}

/*
 * What a failed look-up is reported as.  EAI_SYSTEM means "see errno", which is passed on; but not
 * ETIMEDOUT and ECANCELED, which the caller would take for its own deadline or cancellation.
 */
static int error_of(int code, int system_error)
{
    if (code == EAI_MEMORY)
        return -ENOMEM;
    if (code == EAI_SYSTEM && system_error != 0 && system_error != ETIMEDOUT &&
        system_error != ECANCELED)
        return -system_error;
    return -(OURO_ERESOLVE + (code < 0 ? -code : code));
}

/* /etc/hosts may have an address twice; trying it twice would only cost time. */
static bool is_known(const struct lookup *lookup, const struct ouro_socket_addr *addr)
{
    for (size_t i = 0; i < lookup->count; i++)
        if (ouro_socket_addr_equal(&lookup->list[i], addr))
            return true;
    return false;
}

static void take_entry(struct lookup *lookup, const struct addrinfo *entry)
{
    struct ouro_socket_addr addr;

    if (entry->ai_addr == NULL ||
        ouro_socket_addr_from_sockaddr(entry->ai_addr, entry->ai_addrlen, &addr) < 0 ||
        ouro_socket_addr_set_port(&addr, lookup->query.port) < 0)
        return; /* neither IPv4 nor IPv6 */
    if (!is_known(lookup, &addr))
        lookup->list[lookup->count++] = addr;
}

static int take_answer(struct lookup *lookup, const struct addrinfo *answer)
{
    size_t count = 0;
    for (const struct addrinfo *entry = answer; entry != NULL; entry = entry->ai_next)
        count++;
    if (count == 0)
        return -OURO_ENOADDRESS;
    lookup->list = ouro__calloc(count, sizeof(*lookup->list));
    if (lookup->list == NULL)
        return -ENOMEM;
    for (const struct addrinfo *entry = answer; entry != NULL; entry = entry->ai_next)
        take_entry(lookup, entry);
    return lookup->count > 0 ? 0 : -OURO_ENOADDRESS;
}

/* Hands the look-up to its waiter, or releases it when the waiter has gone. */
static void end_lookup(struct lookup *lookup, int error)
{
    struct ouro_waker waker = lookup->waker;
    lookup->error = error;
    if (ouro__exchange(&lookup->state, LOOKUP_DONE, memory_order_acq_rel) == LOOKUP_ABANDONED) {
        release(lookup);
        return;
    }
    ouro_waker_wake(&waker);
    ouro_waker_drop(&waker);
}

/* Calls the resolver.  0, or the error to report; *out_answer is the caller's to free. */
static int ask_resolver(const struct ouro__name_query *query, struct addrinfo **out_answer)
{
    const struct addrinfo hints = {.ai_family = query->family, .ai_socktype = SOCK_STREAM};
    int rc = check_descriptors();
    if (rc < 0)
        return rc;
    errno = 0;
    int code = resolver(query->name, NULL, &hints, out_answer);
    int system_error = errno;
    if (code == 0)
        return 0;
    rc = check_descriptors(); /* used up meanwhile: then the answer may be wrong */
    return rc < 0 ? rc : error_of(code, system_error);
}

static void run_lookup(struct ouro__blocking_job *job)
{
    struct lookup *lookup = OURO__CONTAINER_OF(job, struct lookup, job);
    struct addrinfo *answer = NULL;

    int rc = ask_resolver(&lookup->query, &answer);
    if (rc == 0) {
        rc = take_answer(lookup, answer);
        if (answer != NULL)
            freeaddrinfo(answer);
    }
    end_lookup(lookup, rc);
}

/* The pool ends before the look-up has begun. */
static void refuse_lookup(struct ouro__blocking_job *job)
{
    end_lookup(OURO__CONTAINER_OF(job, struct lookup, job), -OURO_ESHUTDOWN);
}

static bool is_answered(void *arg)
{
    struct lookup *lookup = arg;
    return ouro__load(&lookup->state, memory_order_acquire) == LOOKUP_DONE;
}

/* True: the look-up is the pool's or released.  False: the answer has come meanwhile. */
static bool abandon(struct ouro__blocking_pool *pool, struct lookup *lookup)
{
    struct ouro_waker waker = lookup->waker;
    uint32_t expected = LOOKUP_WAITED;

    if (ouro__blocking_withdraw(pool, &lookup->job))
        release(lookup);
    else if (!ouro__compare_exchange(&lookup->state, &expected, LOOKUP_ABANDONED,
                                     memory_order_acq_rel))
        return false;
    ouro_waker_drop(&waker);
    return true;
}

/* Submits the look-up and waits.  Unless it returns 0, the look-up is no longer the caller's. */
static int await_answer(struct ouro__context *context, struct lookup *lookup)
{
    struct ouro__blocking_pool *pool = ouro__handle_blocking_pool(context->handle);

    int rc = ouro__context_waker(context, &lookup->waker);
    if (rc < 0) {
        release(lookup);
        return rc;
    }
    rc = ouro__blocking_submit(pool, &lookup->job);
    if (rc < 0) {
        ouro_waker_drop(&lookup->waker);
        release(lookup);
        return rc;
    }
    rc = ouro__wait(context, is_answered, lookup);
    if (rc < 0 && abandon(pool, lookup))
        return rc;
    return 0;
}

static int ask(const struct ouro__name_query *query, struct ouro__addr_vec *vec)
{
    struct ouro__context *context = NULL;

    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    struct lookup *lookup = ouro__calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return -ENOMEM;
    ouro__blocking_job_init(&lookup->job, OURO__BLOCKING_LOOKUP, run_lookup, refuse_lookup);
    lookup->query = *query;
    rc = await_answer(context, lookup);
    if (rc < 0)
        return rc;
    rc = lookup->error;
    if (rc == 0) {
        ouro__addr_vec_adopt(vec, lookup->list, lookup->count);
        lookup->list = NULL;
    }
    release(lookup);
    return rc;
}

int ouro__resolve(const struct ouro_to_socket_addrs *from, struct ouro__addr_vec *vec)
{
    struct ouro__name_query query;

    int rc = ouro__to_socket_addrs(from, vec, &query);
    if (rc != OURO__ADDRS_QUESTION)
        return rc;
    rc = ask(&query, vec);
    return rc < 0 ? rc : OURO__ADDRS_QUESTION;
}

int ouro_resolve(const struct ouro_to_socket_addrs *from, struct ouro_socket_addr **out_list,
                 size_t *out_count)
{
    struct ouro__addr_vec vec;

    if (out_list == NULL || out_count == NULL)
        return -EINVAL;
    ouro__addr_vec_init(&vec);
    int rc = ouro__resolve(from, &vec);
    if (rc >= 0) {
        size_t count = vec.count;
        struct ouro_socket_addr *list = ouro__addr_vec_release(&vec);
        rc = list == NULL ? -ENOMEM : 0;
        if (rc == 0) {
            *out_list = list;
            *out_count = count;
        }
    }
    ouro__addr_vec_fini(&vec);
    return rc;
}

void ouro_addr_list_free(struct ouro_socket_addr *list)
{
    ouro__free(list);
}
