/* SPDX-License-Identifier: MIT */
/*
 * ouro: an io_uring-backed completion runtime for Linux.  This header includes all of them.
 *
 * Read ouro/api.h first (how the headers are written and what holds for every call), then
 * ouro/runtime.h, ouro/task.h and ouro/stream.h.
 */
#ifndef OURO_H
#define OURO_H

#include <ouro/addr.h>
#include <ouro/api.h>
#include <ouro/error.h>
#include <ouro/group.h>
#include <ouro/loan.h>
#include <ouro/metrics.h>
#include <ouro/poll_evented.h>
#include <ouro/probe.h>
#include <ouro/reader.h>
#include <ouro/relay.h>
#include <ouro/runtime.h>
#include <ouro/serve.h>
#include <ouro/stream.h>
#include <ouro/task.h>
#include <ouro/tcp.h>
#include <ouro/time.h>
#include <ouro/trace.h>
#include <ouro/udp.h>
#include <ouro/unix.h>
#include <ouro/waker.h>

#ifndef OURO_NO_OLD_NAMES
#include <ouro/compat.h>
#endif

#endif
