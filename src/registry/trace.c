/* SPDX-License-Identifier: MIT */
/*
 * Trace points: each event gets the time and is passed to the runtime's trace function.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  without a trace function this code does not run.
 * Tests:   tests/registry/test_trace.c
 */
#include "base/clock.h"
#include "base/fork.h"
#include "base/text.h"
#include "registry/driver.h"
#include "registry/readiness.h"

#include <ouro/trace.h>

void ouro__trace_emit(const struct ouro__driver_handle *handle, struct ouro_trace_event *event)
{
    const uint32_t generation = ouro__fork_count;
    event->time_ns = ouro__clock_now_ns();
    handle->trace(handle->trace_arg, event);
    ouro__fork_check(generation, 0);
}

const char *ouro_trace_kind_name(enum ouro_trace_kind kind)
{
    static const char *const names[] = {
        [OURO_TRACE_PARSED] = "parsed",         [OURO_TRACE_RESOLVED] = "resolved",
        [OURO_TRACE_ATTEMPT] = "attempt",       [OURO_TRACE_SOCKET] = "socket",
        [OURO_TRACE_REGISTERED] = "registered", [OURO_TRACE_SUBMITTED] = "submitted",
        [OURO_TRACE_TRIED] = "tried",           [OURO_TRACE_ARMED] = "armed",
        [OURO_TRACE_COMPLETED] = "completed",   [OURO_TRACE_EVENT] = "event",
        [OURO_TRACE_READINESS] = "readiness",   [OURO_TRACE_WOKEN] = "woken",
        [OURO_TRACE_CONNECTED] = "connected",   [OURO_TRACE_FAILED] = "failed",
        [OURO_TRACE_CREATED] = "created",       [OURO_TRACE_DEREGISTERED] = "deregistered",
        [OURO_TRACE_RELEASED] = "released",
    };
    unsigned index = (unsigned)kind;
    return index < OURO__ARRAY_LEN(names) && names[index] != NULL ? names[index] : "?";
}

void ouro_trace_format_readiness(uint64_t word, char *buffer, size_t size_bytes)
{
    static const char *const names[] = {"readable",     "writable", "read-closed",
                                        "write-closed", "priority", "error"};
    if (buffer == NULL || size_bytes == 0)
        return;
    struct ouro__text text = ouro__text_in(buffer, size_bytes);
    for (unsigned bit = 0; bit < OURO__ARRAY_LEN(names); bit++) {
        if ((word >> bit & 1) == 0)
            continue;
        if (text.length > 0)
            ouro__text_put(&text, "|");
        ouro__text_put(&text, names[bit]);
    }
    if (text.length == 0)
        ouro__text_put(&text, "-");
    if (ouro__readiness_is_shutdown(word))
        ouro__text_put(&text, "|shutdown");
    ouro__text_put(&text, " r");
    ouro__text_put_number(&text, word >> OURO__READ_TICK_SHIFT & OURO__TICK_MASK);
    ouro__text_put(&text, " w");
    ouro__text_put_number(&text, word >> OURO__WRITE_TICK_SHIFT & OURO__TICK_MASK);
}
