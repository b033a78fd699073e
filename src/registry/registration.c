/* SPDX-License-Identifier: MIT */
/*
 * Registration: an owner's end of one registered descriptor.
 *
 * A backend reports events as they come, edge-triggered, from the registration on: the state at
 * that time first, then each change.  An edge is reported once, so what it set in the readiness
 * word stays until a task clears it.  For data that is right, because only the task reads it.  For
 * a hang-up or an error that has ended meanwhile it is wrong (registry/descriptor_kind.h): a socket
 * that is registered before connect(2) reports a hang-up, and no later event would clear it.  For a
 * descriptor that has reported such a state, readiness is compared with poll(2) before a wait is
 * answered with it, and cleared if poll(2) disagrees.
 *
 * Owns:    nothing beyond the slot in the set.
 * Threads: as labelled in the header.
 * Always:  a failed registration leaves nothing in the set.
 * Tests:   tests/registry/test_driver_release.c, tests/net/test_poll_hangup.c
 */
#include "registry/registration.h"

#include "base/fault.h"
#include "registry/accept_queue.h"
#include "registry/descriptor_kind.h"

static int attach(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio)
{
    int rc = ouro__fault(OURO__FAULT_ATTACH);
    return rc == 0 ? handle->ops->attach(handle, sio) : rc;
}

static uint32_t flags_of(uint32_t interest)
{
    if (interest == 0)
        return 0;
    return interest >= OURO__ACCEPTS_SINGLY ? OURO__SIO_ACCEPTS : OURO__SIO_READINESS;
}

int ouro__registration_new(struct ouro__driver_handle *handle, int fd, uint32_t interest,
                           struct ouro__registration *out_registration)
{
    struct ouro__scheduled_io *sio = NULL;
    const uint32_t flags = flags_of(interest);
    int rc = ouro__registration_set_allocate(&handle->set, handle, fd, flags, &sio);
    if (rc != 0)
        return rc;
    sio->interest = interest;
    sio->kind = OURO__KIND_UNKNOWN;
    if ((flags & OURO__SIO_READINESS) != 0)
        sio->kind = (uint8_t)ouro__descriptor_kind_of(fd);
    rc = attach(handle, sio);
    if (rc == 0 && (flags & OURO__SIO_ACCEPTS) != 0) {
        sio->attached = ouro__accept_queue_new(sio, interest == OURO__ACCEPTS_SINGLY);
        rc = sio->attached == NULL ? -ENOMEM : 0;
    }
    if (rc != 0) {
        if (ouro__registration_set_deregister(&handle->set, sio))
            ouro__driver_unpark(handle);
        return rc;
    }
    OURO__TRACE(handle, .kind = OURO_TRACE_REGISTERED, .fd = fd, .token = ouro__sio_token(sio, 0),
                .a = handle->index);
    out_registration->sio = sio;
    return 0;
}

void ouro__registration_end(struct ouro__registration *registration)
{
    struct ouro__scheduled_io *sio = registration->sio;
    sio->handle->ops->detach(sio->handle, sio);
    ouro__sio_wake_all(sio);
}

void ouro__registration_drop(struct ouro__registration *registration)
{
    struct ouro__scheduled_io *sio = registration->sio;
    if (sio == NULL)
        return;
    registration->sio = NULL;
    struct ouro__driver_handle *handle = sio->handle;
    OURO__TRACE(handle, .kind = OURO_TRACE_DEREGISTERED, .fd = sio->fd,
                .token = ouro__sio_token(sio, 0));
    handle->ops->detach(handle, sio);
    ouro__sio_wake_all(sio);
    bool nudge = ouro__registration_set_deregister(&handle->set, sio);
    if (nudge && !ouro__driver_is_here(handle))
        ouro__driver_unpark(handle);
}

/*
 * Whether @word is still true, so that it may end a wait for @interest.  False: the state that it
 * reports has ended, and its bits have been cleared, unless newer readiness was set after @word was
 * read.
 */
static bool holds(struct ouro__scheduled_io *sio, uint32_t interest, uint64_t word)
{
    uint32_t ready = ouro__readiness_ready(word) & ouro__interest_mask(interest);
    if (OURO__LIKELY(!ouro__load(&sio->must_check, memory_order_relaxed)) ||
        (ready & (OURO__READY_FINAL | OURO_ERROR)) != 0 ||
        ouro__descriptor_is_ready_now(sio->fd, interest))
        return true;
    ouro__sio_clear(sio, word, ready);
    return false;
}

int ouro__registration_poll(struct ouro__registration *registration, uint32_t interest,
                            const struct ouro_waker *waker, uint64_t *out_word)
{
    int rc = 0;
    do {
        rc = ouro__sio_poll(registration->sio, interest, waker, out_word);
    } while (rc > 0 && !holds(registration->sio, interest, *out_word));
    return rc;
}

int ouro__registration_link(struct ouro__registration *registration, struct ouro__io_waiter *node,
                            uint64_t *out_word)
{
    int rc = 0;
    do {
        rc = ouro__sio_link(registration->sio, node, out_word);
    } while (rc > 0 && !holds(registration->sio, node->interest, *out_word));
    return rc;
}
