/* SPDX-License-Identifier: MIT */
/*
 * What `ouro serve` can do with a connection.
 */
#ifndef OURO_CLI_SERVE_MODES_H
#define OURO_CLI_SERVE_MODES_H

#include <ouro.h>

struct serve_mode {
    const char *name;
    /* Serves one connection until it ends; the stream stays the caller's.  What goes wrong with one
     * connection is no failure of the server. */
    void (*serve)(struct ouro_stream *stream);
};

/* The mode of that name; NULL if there is none. */
const struct serve_mode *serve_mode_find(const char *name);

#endif
