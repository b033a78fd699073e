/* SPDX-License-Identifier: MIT */
/*
 * Which driver a runtime runs on, and why.
 */
#ifndef OURO_RUNTIME_CHOOSE_H
#define OURO_RUNTIME_CHOOSE_H

#include "registry/driver.h"

#include <ouro/runtime.h>

#include <stdbool.h>

struct ouro__choice {
    const struct ouro__driver_ops *ops; /* NULL: no I/O */
    enum ouro_driver_kind kind;         /* NONE: no I/O */
    uint64_t features;                  /* that may be used */
    uint64_t quirks;                    /* to work around */
    bool use_madv_guard;
    char reason[256]; /* why not io_uring; "" if it is */
};

/*
 * Chooses for @config.  The kernel is looked at once per process; never for EPOLL, since some
 * sandboxes kill on the first io_uring system call.
 * Errors: -OURO_ENODRIVER when URING was demanded and cannot run; -ENOMEM, -EMFILE and the like
 * when URING was demanded and a shortage kept the kernel from answering.
 */
int ouro__choose_driver(const struct ouro_runtime_config *config, struct ouro__choice *out_choice);

/*
 * After a worker's driver could not be opened, because of @failure: changes @choice to the next one
 * to try, or returns false when there is none.  Rings can be refused although the kernel was found
 * to have them: for many workers there may not be enough locked memory.
 */
bool ouro__choose_again(const struct ouro_runtime_config *config, struct ouro__choice *choice,
                        int failure);

#endif
