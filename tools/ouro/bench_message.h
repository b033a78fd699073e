/* SPDX-License-Identifier: MIT */
/*
 * One message and its echo.
 */
#ifndef OURO_CLI_BENCH_MESSAGE_H
#define OURO_CLI_BENCH_MESSAGE_H

#include <ouro.h>

/* So small a message fits the kernel's buffers: one task can send it all, and then receive. */
#define BENCH_MESSAGE_MAX ((size_t)32 * 1024)

/*
 * Sends the bytes of stream @key from @offset on (pattern.h), and receives and checks their echo.
 * @buffer has room for @size.  A code of the library or a bench_failure.
 */
int bench_message_echo(struct ouro_stream *stream, uint64_t key, uint64_t offset, char *buffer,
                       size_t size);

#endif
