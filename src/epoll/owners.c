/* SPDX-License-Identifier: MIT */
/*
 * Owners: which registration added a descriptor number to the epoll, so that none takes out
 * another's.
 *
 * epoll knows a descriptor by its number and its open file.  A descriptor that was closed before
 * its registration ended has left the epoll by itself, and its number may long be another's: to
 * delete the number then would silence the other for ever.  So every addition notes its token by
 * number, and a deletion is made only by who is noted.
 *
 * The other way round, an open file that lives on elsewhere (dup, fork) stays in the epoll after
 * its number was closed, under the token of a registration that is gone.  Its events are dropped as
 * stale; if the same file comes back under the same number, adding says EEXIST and nobody is noted:
 * then the entry is taken over.
 *
 * Owns:    the table; the struct around it is the handle's and lives as long.
 * Threads: add() and remove() any; the calls of epoll_ctl(2) are made under the lock, so that table
 *          and epoll change together.
 * Always:  the lock is a leaf; after remove() of a registration nothing adds under its token.
 */
#include "epoll/epoll.h"

#include "base/alloc.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if OURO__TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { SIZE_MIN = 64 };

int ouro__epoll_owners_open(struct ouro__driver_handle *handle, int epoll_fd,
                            struct ouro__epoll_owners **out_owners)
{
    struct ouro__epoll_owners *owners = handle->shared;
    if (owners == NULL) {
        owners = ouro__calloc(1, sizeof(*owners));
        if (owners == NULL)
            return -ENOMEM;
        ouro__mutex_init(&owners->lock);
        handle->shared = owners;
    }
    ouro__mutex_lock(&owners->lock);
    owners->epoll_fd = epoll_fd;
    ouro__mutex_unlock(&owners->lock);
    *out_owners = owners;
    return 0;
}

void ouro__epoll_owners_close(struct ouro__epoll_owners *owners)
{
    ouro__mutex_lock(&owners->lock);
    ouro__free(owners->token);
    owners->token = NULL;
    owners->size = 0;
    owners->epoll_fd = -1;
    ouro__mutex_unlock(&owners->lock);
}

/* Room for the number @fd.  Errors: -ENOMEM. */
static int reserve_locked(struct ouro__epoll_owners *owners, int fd)
{
    size_t size = owners->size < SIZE_MIN ? SIZE_MIN : owners->size;
    if (fd < 0)
        return -EBADF;
    if ((size_t)fd < owners->size)
        return 0;
    while (size <= (size_t)fd)
        size *= 2;
    uint64_t *token = ouro__calloc(size, sizeof(*token));
    if (token == NULL)
        return -ENOMEM;
    if (owners->size > 0)
        memcpy(token, owners->token, owners->size * sizeof(*token));
    ouro__free(owners->token);
    owners->token = token;
    owners->size = size;
    return 0;
}

static int control(const struct ouro__epoll_owners *owners, int operation, int fd, uint32_t events,
                   uint64_t token)
{
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(owners->epoll_fd, operation, fd, &event) == 0 ? 0 : -errno;
}

int ouro__epoll_owners_add(struct ouro__epoll_owners *owners, struct ouro__scheduled_io *sio,
                           uint32_t events)
{
    uint64_t token = ouro__sio_token(sio, 0);
#if OURO__TSAN
    __tsan_release(sio); /* the kernel carries this to whom the event reaches */
#endif
    ouro__mutex_lock(&owners->lock);
    int rc = 0;
    if ((ouro__epoll_sio_flags(sio) & OURO__EPOLL_SIO_DETACHED) != 0)
        rc = -ECANCELED;
    else if (owners->epoll_fd < 0) /* the driver has closed meanwhile */
        rc = -OURO_ESHUTDOWN;
    else
        rc = reserve_locked(owners, sio->fd);
    if (rc == 0) {
        uint64_t noted = owners->token[sio->fd];
        rc = control(owners, EPOLL_CTL_ADD, sio->fd, events, token);
        if (rc == -EEXIST && (noted == 0 || noted == token))
            rc = control(owners, EPOLL_CTL_MOD, sio->fd, events, token);
        if (rc == 0)
            owners->token[sio->fd] = token;
    }
    ouro__mutex_unlock(&owners->lock);
    return rc;
}

void ouro__epoll_owners_remove(struct ouro__epoll_owners *owners, struct ouro__scheduled_io *sio)
{
    ouro__mutex_lock(&owners->lock);
    ouro__epoll_sio_mark(sio, OURO__EPOLL_SIO_DETACHED);
    if (sio->fd >= 0 && (size_t)sio->fd < owners->size &&
        owners->token[sio->fd] == ouro__sio_token(sio, 0)) {
        owners->token[sio->fd] = 0;
        /*
         * Closed already?  Then it has left by itself, and the number is nobody's here, whoever is
         * opening it this moment: by syscall(2), for ThreadSanitizer would call that a race.
         */
        (void)syscall(SYS_epoll_ctl, owners->epoll_fd, EPOLL_CTL_DEL, sio->fd, NULL);
    }
    ouro__mutex_unlock(&owners->lock);
}
