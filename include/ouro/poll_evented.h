/* SPDX-License-Identifier: MIT */
/*
 * PollEvented: waiting for a descriptor that ouro did not make.
 *
 * A descriptor that poll(2) can wait for (a socket of another library, an eventfd, a pipe, an
 * epoll) is registered with a driver; then its readiness can be waited for in three ways:
 * ouro_poll_evented_ready() suspends, ouro_poll_evented_poll_ready() wakes a Waker, and
 * ouro_poll_evented_io() runs a system call until it no longer says EAGAIN.
 *
 * Readiness is edge-triggered and remembered.  After a system call has said EAGAIN, clear the event
 * that led to it: the clear is void when a newer event has come in between, so nothing is lost.
 *
 * READ_CLOSED and WRITE_CLOSED are final and never cleared.  They are reported for connected stream
 * sockets and for pipes without a name.  A hang-up or an error that may pass is reported as
 * READABLE and WRITABLE, as poll(2) would end the wait: a socket before connect(2) or listen(2), a
 * FIFO, a pty master, an error queue.
 */
#ifndef OURO_POLL_EVENTED_H
#define OURO_POLL_EVENTED_H

#include <ouro/api.h>
#include <ouro/waker.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_poll_evented;

/*
 * Interest and Ready.  A wait for READABLE also ends by READ_CLOSED, a wait for WRITABLE by
 * WRITE_CLOSED, a wait for PRIORITY by READ_CLOSED.  A wait for ERROR ends by ERROR only.
 */
#define OURO_READABLE (1u << 0)
#define OURO_WRITABLE (1u << 1)
#define OURO_READ_CLOSED (1u << 2)
#define OURO_WRITE_CLOSED (1u << 3)
#define OURO_PRIORITY (1u << 4)
#define OURO_ERROR (1u << 5)

/* What was seen, and when: hand it back to clear exactly that. */
struct ouro_ready_event {
    uint32_t ready;    /* OURO_READABLE | ... */
    uint32_t reserved; /* 0 */
    uint64_t snapshot; /* ouro's */
};

/*
 * Registers @fd with the driver of the calling worker.  It should be non-blocking if it is read or
 * written after readiness.  One registration per descriptor at a time.
 *
 * Owns:     @fd remains the caller's and must stay open until ouro_poll_evented_free().  *out_io is
 *           the caller's.
 * Errors:   those of epoll_ctl(2) on both drivers: -EBADF, also for O_PATH; -EPERM for what cannot
 *           be waited for, such as a regular file; -EEXIST when the same descriptor is registered
 *           already (epoll only; io_uring permits it); -EMFILE, -ENFILE (io_uring only: the check
 *           needs a descriptor for a moment); -EINVAL for no or unknown interests; -ENOMEM;
 *           -OURO_EIODISABLED, -OURO_ENORUNTIME, -OURO_ESHUTDOWN, -OURO_EFORKED.  After an error
 *           nothing is registered.
 * Since:    0.1
 */
OURO_API int ouro_poll_evented_new(int fd, uint32_t interest,
                                   struct ouro_poll_evented **out_io) OURO_MUST_CHECK;

/*
 * Ends the registration; wakers still stored are woken and dropped.  May be called from inside a
 * wake.  The descriptor may be closed before or after.
 *
 * Owns:     takes @io; NULL is ignored.
 * Threads:  any.
 * Since:    0.1
 */
OURO_API void ouro_poll_evented_free(struct ouro_poll_evented *io);

/*
 * Waits until the descriptor is ready for one of @interest.
 *
 * Suspends: until ready.  Any number of tasks may wait; all that match are woken.
 * Errors:   -EINVAL for no interest, or one that @io was not made with; those of every suspending
 *           call.
 * Since:    0.1
 */
OURO_API int ouro_poll_evented_ready(struct ouro_poll_evented *io, uint32_t interest,
                                     struct ouro_ready_event *out_event) OURO_MUST_CHECK;

/*
 * Looks, and if nothing is ready stores a clone of @waker to be woken once.  There is one place for
 * a reader (READABLE, PRIORITY) and one for a writer (WRITABLE, ERROR); a newer waker replaces an
 * older one.
 *
 * Errors:   OURO_POLL_READY (1) with *out_event, or OURO_POLL_PENDING (0); -EINVAL as above;
 *           -OURO_ESHUTDOWN; -ECANCELED from a wake that ouro_poll_evented_free() made.
 * Threads:  any.
 * Since:    0.1
 */
OURO_API int ouro_poll_evented_poll_ready(struct ouro_poll_evented *io, uint32_t interest,
                                          const struct ouro_waker *waker,
                                          struct ouro_ready_event *out_event) OURO_MUST_CHECK;

/*
 * Forgets the readiness in @event, unless newer has come for that direction.  Reading and writing
 * do not disturb each other.
 *
 * Threads:  any, but not while another frees @io.
 * Since:    0.1
 */
OURO_API void ouro_poll_evented_clear(struct ouro_poll_evented *io,
                                      const struct ouro_ready_event *event);

/* A system call on @fd: what it returned, -errno for an error, so -EAGAIN to be called again. */
typedef ssize_t ouro_io_function(int fd, void *arg);

/*
 * Calls @function when the descriptor is ready for @interest, clears and waits again as long as it
 * returns -EAGAIN.  The first call is made without waiting.  When @function returns -EAGAIN while
 * the descriptor stays ready, others run before the next call.
 *
 * Suspends: until @function returns something else.
 * Errors:   what @function returned; -EINVAL as above; those of every suspending call.
 * Since:    0.1
 */
OURO_API ssize_t ouro_poll_evented_io(struct ouro_poll_evented *io, uint32_t interest,
                                      ouro_io_function *function, void *arg) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
