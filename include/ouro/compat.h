/* SPDX-License-Identifier: MIT */
/*
 * The names of 0.1, so that a program written for it compiles unchanged.
 *
 * 0.1 had a type for TCP streams and another for Unix streams, with the same calls twice.  Since
 * 0.2 there is one, struct ouro_stream (ouro/stream.h).  This header defines the old names as the
 * new ones.  The old from_fd calls took one kind of socket only; they take every kind now.
 *
 * New programs use the new names.  OURO_NO_OLD_NAMES, defined before <ouro.h>, leaves these out.
 */
#ifndef OURO_COMPAT_H
#define OURO_COMPAT_H

#include <ouro/stream.h>

#define ouro_tcp_stream ouro_stream
#define ouro_tcp_stream_from_fd ouro_stream_from_fd
#define ouro_tcp_stream_into_fd ouro_stream_into_fd
#define ouro_tcp_stream_fd ouro_stream_fd
#define ouro_tcp_stream_read ouro_stream_read
#define ouro_tcp_stream_readv ouro_stream_readv
#define ouro_tcp_stream_peek ouro_stream_peek
#define ouro_tcp_stream_write ouro_stream_write
#define ouro_tcp_stream_writev ouro_stream_writev
#define ouro_tcp_stream_write_all(stream, buffer, size)                                            \
    ouro_stream_write_all(stream, buffer, size, NULL)
#define ouro_tcp_stream_shutdown ouro_stream_shutdown
#define ouro_tcp_stream_close ouro_stream_close

#define ouro_unix_stream ouro_stream
#define ouro_unix_stream_from_fd ouro_stream_from_fd
#define ouro_unix_stream_into_fd ouro_stream_into_fd
#define ouro_unix_stream_fd ouro_stream_fd
#define ouro_unix_stream_read ouro_stream_read
#define ouro_unix_stream_write ouro_stream_write
#define ouro_unix_stream_write_all(stream, buffer, size)                                           \
    ouro_stream_write_all(stream, buffer, size, NULL)
#define ouro_unix_stream_shutdown ouro_stream_shutdown
#define ouro_unix_stream_close ouro_stream_close

#endif
