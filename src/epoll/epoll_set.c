/* SPDX-License-Identifier: MIT */
/*
 * The epoll set: which registration has added a descriptor number, so that no registration removes
 * the entry of another.
 *
 * epoll knows a descriptor by its number and its open file.  A descriptor that was closed before
 * its registration ended has left the set, and its number may belong to another registration by
 * then.  Deleting the number would end the other's events for ever.  So every addition stores its
 * token by number, and only the registration whose token is stored deletes the number.
 *
 * An open file that lives on elsewhere (dup, fork) stays in the set after its number was closed,
 * under the token of a registration that has ended.  Its events are dropped as stale.  If the same
 * file comes back under the same number, adding returns EEXIST while no token is stored; then the
 * entry is taken over.
 *
 * Owns:    the table; the struct around it is the handle's and lives as long.
 * Threads: add() and remove() any; the calls of epoll_ctl(2) are made under the lock, so that table
 *          and epoll change together.
 * Always:  the lock is a leaf; after remove() of a registration nothing adds under its token.
 * Tests:   tests/epoll/test_epoll_set.c
 */
#include "epoll/epoll.h"

#include "base/alloc.h"

#include <ouro/error.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if OURO__TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { SIZE_MIN = 64 };

int ouro__epoll_set_open(struct ouro__driver_handle *handle, int epoll_fd,
                         struct ouro__epoll_set **out_owners)
{
    struct ouro__epoll_set *set = handle->shared;
    if (set == NULL) {
        set = ouro__calloc(1, sizeof(*set));
        if (set == NULL)
            return -ENOMEM;
        ouro__mutex_init(&set->lock);
        handle->shared = set;
    }
    ouro__mutex_lock(&set->lock);
    set->epoll_fd = epoll_fd;
    ouro__mutex_unlock(&set->lock);
    *out_owners = set;
    return 0;
}

void ouro__epoll_set_close(struct ouro__epoll_set *set)
{
    ouro__mutex_lock(&set->lock);
    ouro__free(set->token);
    set->token = NULL;
    set->size = 0;
    set->epoll_fd = -1;
    ouro__mutex_unlock(&set->lock);
}

/* Room for the number @fd.  One that is not open gets none, however large it is.  Errors: -EBADF,
 * -ENOMEM. */
static int reserve_locked(struct ouro__epoll_set *set, int fd)
{
    size_t size = set->size < SIZE_MIN ? SIZE_MIN : set->size;
    if (fd < 0)
        return -EBADF;
    if ((size_t)fd < set->size)
        return 0;
    if (fcntl(fd, F_GETFD) < 0)
        return -errno;
    while (size <= (size_t)fd)
        size *= 2;
    uint64_t *token = ouro__calloc(size, sizeof(*token));
    if (token == NULL)
        return -ENOMEM;
    if (set->size > 0)
        memcpy(token, set->token, set->size * sizeof(*token));
    ouro__free(set->token);
    set->token = token;
    set->size = size;
    return 0;
}

static int control(const struct ouro__epoll_set *set, int operation, int fd, uint32_t events,
                   uint64_t token)
{
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(set->epoll_fd, operation, fd, &event) == 0 ? 0 : -errno;
}

int ouro__epoll_set_add(struct ouro__epoll_set *set, struct ouro__scheduled_io *sio,
                        uint32_t events)
{
    uint64_t token = ouro__sio_token(sio, 0);
#if OURO__TSAN
    __tsan_release(sio); /* pairs with the acquire where an event of @sio arrives */
#endif
    ouro__mutex_lock(&set->lock);
    int rc = 0;
    if ((ouro__epoll_sio_flags(sio) & OURO__EPOLL_SIO_DETACHED) != 0)
        rc = -ECANCELED;
    else if (set->epoll_fd < 0) /* the driver has closed meanwhile */
        rc = -OURO_ESHUTDOWN;
    else
        rc = reserve_locked(set, sio->fd);
    if (rc == 0) {
        uint64_t noted = set->token[sio->fd];
        rc = control(set, EPOLL_CTL_ADD, sio->fd, events, token);
        if (rc == -EEXIST && (noted == 0 || noted == token))
            rc = control(set, EPOLL_CTL_MOD, sio->fd, events, token);
        if (rc == 0)
            set->token[sio->fd] = token;
    }
    ouro__mutex_unlock(&set->lock);
    return rc;
}

void ouro__epoll_set_remove(struct ouro__epoll_set *set, struct ouro__scheduled_io *sio)
{
    ouro__mutex_lock(&set->lock);
    ouro__epoll_sio_mark(sio, OURO__EPOLL_SIO_DETACHED);
    if (sio->fd >= 0 && (size_t)sio->fd < set->size &&
        set->token[sio->fd] == ouro__sio_token(sio, 0)) {
        set->token[sio->fd] = 0;
        /*
         * If the descriptor is closed already, it has left the set, and the call fails, whoever
         * opens the number at this moment.  By syscall(2): ThreadSanitizer would report that as a
         * race.
         */
        (void)syscall(SYS_epoll_ctl, set->epoll_fd, EPOLL_CTL_DEL, sio->fd, NULL);
    }
    ouro__mutex_unlock(&set->lock);
}
