/* SPDX-License-Identifier: MIT */
/*
 * Files: positioned reads and writes, and splice, of descriptors that the caller owns.
 *
 * Any number of them may be in flight on one descriptor.  The kernel may look a descriptor up when
 * it gets to the operation, not when it is submitted, so a descriptor must stay open until the call
 * has returned, also when another task closes it.
 *
 * Errors of all: those of the system call, -ENOMEM, -EAGAIN when the blocking pool is needed and
 * has no thread; -ECANCELED, -ETIMEDOUT, -OURO_ESHUTDOWN.
 */
#ifndef OURO_TASK_FILE_H
#define OURO_TASK_FILE_H

#include "task/wait.h"

/* As pread(2) and pwrite(2): a count, 0 at the end of the file. */
int32_t ouro__file_read_at(struct ouro__context *context, int fd, void *buffer, size_t size,
                           uint64_t offset);
int32_t ouro__file_write_at(struct ouro__context *context, int fd, const void *buffer, size_t size,
                            uint64_t offset);

/*
 * As splice(2): moves at most @size bytes from @from to @to, of which one is a pipe, and waits
 * until some can be moved.  An offset of -1: the descriptor's own.  Sockets must be non-blocking.
 * Where the backend has no row for it, a splice that waits keeps a thread of the blocking pool.
 */
int32_t ouro__splice(struct ouro__context *context, int from, int64_t from_offset, int to,
                     int64_t to_offset, size_t size);

#endif
