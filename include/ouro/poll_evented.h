/* SPDX-License-Identifier: MIT */
/*
 * PollEvented: waiting for a descriptor that ouro did not make.
 *
 * A descriptor that poll(2) can wait for (a socket of another library, an eventfd, a pipe, an
 * epoll) is registered with a driver; then its readiness can be waited for in three ways:
 * ouro_poll_evented_ready() suspends, ouro_poll_evented_poll_ready() wakes a Waker, and
 * ouro_poll_evented_io() repeats a system call until it returns something other than EAGAIN.
 *
 * Readiness is edge-triggered and remembered.  After a system call has returned EAGAIN, clear the
 * event that led to the call.  The clear has no effect if a newer event has arrived in between, so
 * no event is lost.
 *
 * READ_CLOSED and WRITE_CLOSED are final and never cleared.  They are reported for connected stream
 * sockets and for pipes without a name.  A hang-up or an error that is not final is reported as
 * READABLE and WRITABLE, because poll(2) would end the wait too.  This concerns a socket before
 * connect(2) or listen(2), a FIFO, a pty master, and an error queue.
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

/* The readiness that a wait found.  ouro_poll_evented_clear() clears exactly this readiness. */
struct ouro_ready_event {
    uint32_t ready;    /* OURO_READABLE | ... */
    uint32_t reserved; /* 0 */
    uint64_t snapshot; /* for ouro's use */
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
 * Checks readiness.  If none of @interest is ready, stores a clone of @waker, which is woken once.
 * There is one place for a reader (READABLE, PRIORITY) and one for a writer (WRITABLE, ERROR); a
 * newer waker replaces an older one.
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
 * Clears the readiness in @event, unless a newer event has arrived for that direction.  The read
 * side and the write side are cleared independently.
 *
 * Threads:  any, but not while another thread frees @io.
 * Since:    0.1
 */
OURO_API void ouro_poll_evented_clear(struct ouro_poll_evented *io,
                                      const struct ouro_ready_event *event);

/* Makes a system call on @fd; returns its result or -errno.  After -EAGAIN it is called again. */
typedef ssize_t ouro_io_function(int fd, void *arg);

/*
 * Calls @function until it returns something other than -EAGAIN.  The first call is made without
 * waiting.  After -EAGAIN the readiness is cleared, and the next call is made when the descriptor
 * is ready for @interest again.  If the descriptor stays ready, other tasks run before the next
 * call.
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
