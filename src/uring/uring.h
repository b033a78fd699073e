/* SPDX-License-Identifier: MIT */
/*
 * The io_uring backend as the rest of the library sees it: a table.  uring/ring.h describes what is
 * behind it.
 */
#ifndef OURO_URING_URING_H
#define OURO_URING_URING_H

#include "registry/driver.h"

extern const struct ouro__driver_ops ouro__uring_ops;

#endif
