/* SPDX-License-Identifier: MIT */
/*
 * stdin or stdout as a task reads or writes it, whatever it is: a pipe, a terminal, a pty's master,
 * a socket, a file, a device.
 */
#ifndef OURO_CLI_PIPE_END_H
#define OURO_CLI_PIPE_END_H

#include <ouro.h>
#include <stdbool.h>
#include <sys/types.h>

struct pipe_end {
    int fd;
    bool is_socket;
    bool is_own;                  /* an open file of our own, closed by pipe_end_fini() */
    bool is_pty_master;           /* its end is told by EIO */
    struct ouro_poll_evented *io; /* NULL where the blocking pool waits */
};

/*
 * In a task: prepares STDIN_FILENO (for reading) or STDOUT_FILENO (for writing).  To be ended with
 * pipe_end_fini(), also after an error.
 */
int pipe_end_init(struct pipe_end *end, int fd, bool for_writing);

void pipe_end_fini(struct pipe_end *end);

/* As read(2), suspending; a count, 0 at the end, or a negative code. */
ssize_t pipe_end_read(struct pipe_end *end, void *buffer, size_t size);

/* Writes all, suspending; 0 or a negative code. */
int pipe_end_write_all(struct pipe_end *end, const void *buffer, size_t size);

#endif
