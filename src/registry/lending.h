/* SPDX-License-Identifier: MIT */
/*
 * Lending: how operations get buffers of their driver's pool, and how buffers come back.
 */
#ifndef OURO_REGISTRY_LENDING_H
#define OURO_REGISTRY_LENDING_H

#include "registry/driver.h"
#include "registry/loan_pool.h"

/*
 * The pool of an open driver, made by the first call.  NULL: no memory for it.  It has to be made
 * before an operation that needs a buffer is submitted.
 */
OURO__ANY_THREAD struct ouro__loan_pool *ouro__lending_pool(struct ouro__driver_handle *handle);

/*
 * Gives @op, which has none, a buffer from home.  False: there is none; @op waits, and goes on by
 * the backend's resume().
 */
OURO__DRIVER_THREAD bool ouro__lending_get(struct ouro__op *op);

/* Takes the buffer that @op has, if it has one, back: the operation failed, or must wait. */
OURO__DRIVER_THREAD void ouro__lending_undo(struct ouro__op *op);

/* A buffer that is OUT comes home, or goes to who waits for one. */
OURO__DRIVER_THREAD void ouro__lending_put(struct ouro__driver *driver,
                                           struct ouro__loan_buffer *buffer);

/*
 * A buffer that is OUT, with @word, goes back to its driver.  False: it was returned before.  The
 * caller makes sure that the driver's handle lives.
 */
OURO__ANY_THREAD bool ouro__lending_return(struct ouro__loan_buffer *buffer, uint32_t word);

#endif
