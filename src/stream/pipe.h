/* SPDX-License-Identifier: MIT */
/*
 * Pipe streams: ends of pipes and FIFOs.
 */
#ifndef OURO_STREAM_PIPE_H
#define OURO_STREAM_PIPE_H

#include "stream/stream.h"

/* Whether writes try RWF_NOSIGNAL.  They begin with it, and stop when the kernel lacks it; tests
 * call this to take either way on any kernel. */
void ouro__pipe_use_nosignal(bool use);

#endif
