/* SPDX-License-Identifier: MIT */
/*
 * Errors are negative numbers: -errno for what the kernel has a name for, -OURO_E... for the rest.
 */
#ifndef OURO_ERROR_H
#define OURO_ERROR_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ouro's own codes begin past the kernel's last, 4095.  They are returned negated. */
enum ouro_error {
    OURO_EIODISABLED = 4097,   /* the runtime was made without I/O */
    OURO_ETIMEDISABLED = 4098, /* the runtime was made without time */
    OURO_ESHUTDOWN = 4099,     /* the runtime is shutting down, or has */
    OURO_ENORUNTIME = 4100,    /* neither in a fiber nor in a thread that entered a runtime */
    OURO_EFORKED = 4101,       /* the runtime belongs to the process this one was forked from */
    OURO_ENESTED = 4102,       /* block_on, or shutdown, called from inside a fiber or block_on */
    OURO_EWRONGTHREAD = 4103,  /* only the thread that made this runtime may do that */
    OURO_ENODRIVER = 4104,   /* io_uring was demanded and cannot run here; ouro/probe.h says why */
    OURO_ENOADDRESS = 4105,  /* an empty list of addresses, or a name without any */
    OURO_EADDRSYNTAX = 4106, /* the text is not HOST:PORT, an address or a path */
    OURO_ERESOLVE = 4200     /* the resolver failed: OURO_ERESOLVE + the absolute EAI_* code */
};

/*
 * A sentence for a person, "connection refused", for a negative code (a positive one is taken as
 * its negation, 0 is "success").
 *
 * Owns:    constant text; for codes without a name a constant "unknown error".
 * Threads: any.
 * Since:   0.1
 */
OURO_API const char *ouro_strerror(int code);

/*
 * The code's name as one writes it in a program: "ECONNREFUSED", "OURO_ESHUTDOWN", "EAI_NONAME".
 *
 * Owns:    constant text; "UNKNOWN" for codes without a name.
 * Threads: any.
 * Since:   0.1
 */
OURO_API const char *ouro_err_name(int code);

#ifdef __cplusplus
}
#endif

#endif
