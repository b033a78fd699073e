/* SPDX-License-Identifier: MIT */
/*
 * Files: positioned reads and writes, and splice.
 *
 * Each is an operation in a slot of a driver: the calling worker's, or for a plain thread the next
 * in turn.  Where the driver has no row for it, and in a runtime without I/O, its system call is
 * made on the blocking pool.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  the buffer is the caller's again when the call returns.
 * Tests:   tests/task/test_file.c
 */
#include "task/file.h"

#include "task/handle.h"

#include <ouro/error.h>

static int32_t await_in_slot(struct ouro__context *context, struct ouro__op *op)
{
    op->lane = OURO__LANE_SLOT;
    int rc = ouro__handle_driver_for(context, &op->handle);
    if (rc == -OURO_EIODISABLED)
        op->handle = NULL;
    else if (rc < 0)
        return rc;
    return ouro__await(context, op, 0);
}

int32_t ouro__file_read_at(struct ouro__context *context, int fd, void *buffer, size_t size,
                           uint64_t offset)
{
    struct ouro__op op = {
        .code = OURO__OP_FILE_READ,
        .fd = fd,
        .arg.file = {.buffer = buffer, .size = ouro__op_clamp(size), .offset = offset},
    };
    return await_in_slot(context, &op);
}

int32_t ouro__file_write_at(struct ouro__context *context, int fd, const void *buffer, size_t size,
                            uint64_t offset)
{
    struct ouro__op op = {
        .code = OURO__OP_FILE_WRITE,
        .fd = fd,
        .arg.file = {.buffer = (void *)(uintptr_t)buffer,
                     .size = ouro__op_clamp(size),
                     .offset = offset},
    };
    return await_in_slot(context, &op);
}

int32_t ouro__splice(struct ouro__context *context, int from, int64_t from_offset, int to,
                     int64_t to_offset, size_t size)
{
    struct ouro__op op = {
        .code = OURO__OP_SPLICE,
        .fd = from,
        .arg.splice = {.size = ouro__op_clamp(size),
                       .offset = from_offset,
                       .out_offset = to_offset,
                       .out_fd = to},
    };
    return await_in_slot(context, &op);
}
