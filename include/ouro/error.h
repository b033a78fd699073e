/* SPDX-License-Identifier: MIT */
/*
 * Errors are negative numbers: -errno where errno has a code for it, -OURO_E... otherwise.
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
    OURO_ELOANED = 4107,     /* buffers on loan from the stream have not been released */
    OURO_ECREDIT = 4108,     /* the stream has all the loans that it may have at a time */
    OURO_ESTREAMEND = 4109,  /* the stream ended before all that was asked for had arrived */
    OURO_EBYTELIMIT = 4110,  /* the connection has moved as many bytes as its server allows */
    OURO_ERESOLVE = 4200     /* the resolver failed: OURO_ERESOLVE + the absolute EAI_* code */
};

/*
 * Returns a readable text for an error code, such as "connection refused" for -ECONNREFUSED.  A
 * positive code is treated as its negation; 0 is "success".
 *
 * Owns:    constant text; "unknown error" for codes without a name.
 * Threads: any.
 * Since:   0.1
 */
OURO_API const char *ouro_strerror(int code);

/*
 * Returns the symbolic name of an error code: "ECONNREFUSED", "OURO_ESHUTDOWN", "EAI_NONAME".
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
