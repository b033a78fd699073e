/* SPDX-License-Identifier: MIT */
/*
 * IoHandle: Enabled or Disabled.
 *
 * Owns:    the driver's shared half, and between open and close the driver.
 * Threads: as labelled in the header.
 * Always:  messages sent to either variant are run on the owner's thread.
 * Tests:   tests/registry/test_driver_wake.c
 */
#include "registry/io_handle.h"

#include "registry/parker.h"

#include <ouro/error.h>

int ouro__io_handle_init(struct ouro__io_handle *io, const struct ouro__driver_ops *ops)
{
    io->kind = ops == NULL ? OURO__IO_DISABLED : OURO__IO_ENABLED;
    return ouro__driver_handle_init(&io->handle, ops);
}

void ouro__io_handle_fini(struct ouro__io_handle *io)
{
    ouro__driver_handle_fini(&io->handle);
}

int ouro__io_handle_open(struct ouro__io_handle *io, const struct ouro__driver_config *config)
{
    if (io->kind == OURO__IO_ENABLED)
        return ouro__driver_open(&io->handle, config);
    io->handle.owner = ouro__thread_identity();
    io->handle.wait_mask = config->wait_mask;
    return 0;
}

bool ouro__io_handle_close_inbox(struct ouro__io_handle *io)
{
    const struct ouro__driver *driver = io->handle.driver;
    bool is_idle =
        driver == NULL || (driver->inflight == 0 && ouro__queue_is_empty(&driver->completed) &&
                           ouro__queue_is_empty(&driver->ready));
    return is_idle && ouro__inbox_close(&io->handle.inbox);
}

void ouro__io_handle_close(struct ouro__io_handle *io)
{
    if (io->handle.driver != NULL) {
        ouro__driver_close(&io->handle);
        return;
    }
    while (!ouro__inbox_close(&io->handle.inbox))
        ouro__inbox_drain(&io->handle.inbox);
}

void ouro__io_handle_turn(struct ouro__io_handle *io, int64_t timeout_ns)
{
    if (io->kind == OURO__IO_ENABLED) {
        ouro__driver_turn(&io->handle, timeout_ns);
        return;
    }
    if (ouro__inbox_drain(&io->handle.inbox) > 0)
        timeout_ns = 0;
    ouro__parker_wait(&io->handle.unpark, timeout_ns, io->handle.wait_mask);
    ouro__inbox_drain(&io->handle.inbox);
}

int ouro__io_handle_driver(struct ouro__io_handle *io, struct ouro__driver_handle **out_driver)
{
    if (io->kind == OURO__IO_DISABLED)
        return -OURO_EIODISABLED;
    *out_driver = &io->handle;
    return 0;
}
