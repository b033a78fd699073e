/* SPDX-License-Identifier: MIT */
/*
 * Trace: what the library reports of its steps, kept while it works and printed afterwards.
 *
 * The callback runs inside the driver and may not call the library, so it only copies the event.
 * Formatting waits until the connect is over, so printing does not change the times.  Every line
 * stands for one event that happened; the words beside it explain that kind of step.
 *
 * Owns:    the records.
 * Threads: trace_callback() any; the rest one at a time, printing after trace_stop().
 */
#include "trace.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json_text.h"

/* What a step means, for a reader who sees one for the first time. */
struct explanation {
    const char *uring;
    const char *epoll; /* NULL: the same */
};

static const struct explanation explanations[] = {
    [OURO_TRACE_PARSED] = {"ToSocketAddrs: a literal, so no resolver and no thread", NULL},
    [OURO_TRACE_RESOLVED] = {"ToSocketAddrs: a name, asked on the blocking pool", NULL},
    [OURO_TRACE_ATTEMPT] = {"connect_addr: one attempt at one address", NULL},
    [OURO_TRACE_SOCKET] = {"a descriptor, closed on exec", NULL},
    [OURO_TRACE_REGISTERED] = {"Registration: a ScheduledIo; token = generation, index, lane",
                               NULL},
    [OURO_TRACE_SUBMITTED] = {"the request, tagged with the token, lies in the ring's SQ",
                              "the operation is handed to the driver, which will emulate it"},
    [OURO_TRACE_TRIED] = {"a system call that does not wait, and what it said", NULL},
    [OURO_TRACE_ARMED] = {"epoll_ctl: the kernel shall report these events", NULL},
    [OURO_TRACE_COMPLETED] = {"the kernel's answer in the CQ; the token finds its ScheduledIo",
                              "the operation has its result, as a CQE would bring it"},
    [OURO_TRACE_EVENT] = {"epoll_wait: the kernel reports; the token finds its ScheduledIo", NULL},
    [OURO_TRACE_READINESS] = {"one atomic word: what is ready, and a tick per direction", NULL},
    [OURO_TRACE_WOKEN] = {"Waker: the task that waited may run again", NULL},
    [OURO_TRACE_CONNECTED] = {"connect_addr: this attempt won", NULL},
    [OURO_TRACE_FAILED] = {"connect_addr: this attempt lost", NULL},
    [OURO_TRACE_CREATED] = {"PollEvented (socket and Registration) became a stream", NULL},
    [OURO_TRACE_DEREGISTERED] = {"close: the Registration ended", NULL},
    [OURO_TRACE_RELEASED] = {"nothing in flight: the driver freed the ScheduledIo", NULL},
};

void trace_callback(void *arg, const struct ouro_trace_event *event)
{
    struct trace *trace = arg;
    if (!atomic_load_explicit(&trace->on, memory_order_acquire))
        return;
    unsigned index = atomic_fetch_add_explicit(&trace->count, 1, memory_order_relaxed);
    if (index >= TRACE_EVENTS_MAX)
        return;
    struct trace_record *record = &trace->records[index];
    record->event = *event;
    if (event->addr != NULL)
        record->addr = *event->addr;
    if (event->name != NULL)
        strncpy(record->name, event->name, sizeof(record->name) - 1);
    atomic_fetch_add_explicit(&trace->written, 1, memory_order_release);
}

void trace_start(struct trace *trace)
{
    struct ouro_handle *handle = ouro_handle_current();
    trace->driver = ouro_handle_driver(handle);
    ouro_handle_unref(handle);
    trace->start_ns = ouro_now_ns();
    atomic_store_explicit(&trace->on, true, memory_order_release);
}

void trace_stop(struct trace *trace)
{
    atomic_store_explicit(&trace->on, false, memory_order_release);
}

/* On io_uring some steps have names of its own in the table; JSON keeps the library's names. */
static const char *step_name(const struct trace *trace, enum ouro_trace_kind kind)
{
    if (kind == OURO_TRACE_CREATED)
        return "created stream";
    if (trace->driver == OURO_DRIVER_URING && kind == OURO_TRACE_SUBMITTED)
        return "SQE submitted";
    if (trace->driver == OURO_DRIVER_URING && kind == OURO_TRACE_COMPLETED)
        return "CQE";
    return ouro_trace_kind_name(kind);
}

static unsigned kept(const struct trace *trace)
{
    unsigned count = atomic_load_explicit(&trace->written, memory_order_acquire);
    return count < TRACE_EVENTS_MAX ? count : TRACE_EVENTS_MAX;
}

static const char *explain(const struct trace *trace, enum ouro_trace_kind kind)
{
    size_t index = (size_t)kind;
    if (index >= sizeof(explanations) / sizeof(explanations[0]))
        return "";
    const struct explanation *both = &explanations[index];
    const char *text =
        trace->driver == OURO_DRIVER_EPOLL && both->epoll != NULL ? both->epoll : both->uring;
    return text != NULL ? text : "";
}

/* epoll's event bits; those up to POLLRDHUP are poll(2)'s. */
static void print_events(FILE *stream, uint64_t events)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } names[] = {
        {POLLIN, "IN"},   {POLLOUT, "OUT"},      {POLLPRI, "PRI"},
        {POLLERR, "ERR"}, {POLLHUP, "HUP"},      {POLLRDHUP, "RDHUP"},
        {1u << 31, "ET"}, {1u << 30, "ONESHOT"}, {1u << 28, "EXCLUSIVE"},
    };
    const char *separator = "";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((events & names[i].bit) == 0)
            continue;
        fprintf(stream, "%s%s", separator, names[i].name);
        separator = "|";
        events &= ~names[i].bit;
    }
    if (events != 0 || *separator == '\0')
        fprintf(stream, "%s0x%" PRIx64, separator, events);
}

static void print_result(FILE *stream, int64_t result)
{
    if (result < 0)
        fprintf(stream, "-%s", ouro_err_name((int)result));
    else
        fprintf(stream, "%" PRId64, result);
}

/* The values that the kind of event lists in ouro/trace.h. */
static void print_values(FILE *stream, const struct trace_record *record)
{
    const struct ouro_trace_event *event = &record->event;
    char before[64], after[64];
    switch (event->kind) {
    case OURO_TRACE_RESOLVED:
        fprintf(stream, " (%" PRIu64 " of %" PRIu64 ")", event->a + 1, event->b);
        break;
    case OURO_TRACE_ATTEMPT:
        fprintf(stream, " (%" PRIu64 " of %" PRIu64 ")", event->a, event->b);
        break;
    case OURO_TRACE_REGISTERED:
        fprintf(stream, " driver %" PRIu64, event->a);
        break;
    case OURO_TRACE_ARMED:
    case OURO_TRACE_EVENT:
        fputc(' ', stream);
        print_events(stream, event->a);
        break;
    case OURO_TRACE_TRIED:
    case OURO_TRACE_COMPLETED:
    case OURO_TRACE_FAILED:
        fputs(" result ", stream);
        print_result(stream, event->result);
        break;
    case OURO_TRACE_READINESS:
        ouro_trace_format_readiness(event->a, before, sizeof(before));
        ouro_trace_format_readiness(event->b, after, sizeof(after));
        fprintf(stream, " %s -> %s", before, after);
        break;
    default:
        break;
    }
}

/* Ends a text that open_memstream(3) made.  NULL when there was not memory for all of it. */
static char *end_text(FILE *stream, char **text)
{
    bool whole = ferror(stream) == 0;
    if (fclose(stream) == 0 && whole)
        return *text;
    free(*text);
    return NULL;
}

/* " fd 5 token 0x10001", for the caller to free(); empty, or with a space in front. */
static char *describe(const struct trace_record *record)
{
    const struct ouro_trace_event *event = &record->event;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return NULL;
    char addr[OURO_ADDR_TEXT_MAX];
    if (event->name != NULL)
        fprintf(stream, " %s", record->name);
    if (event->addr != NULL)
        fprintf(stream, " %s", ouro_socket_addr_format(&record->addr, addr, sizeof(addr)));
    if (event->fd >= 0)
        fprintf(stream, " fd %d", event->fd);
    if (event->token != 0)
        fprintf(stream, " token %#" PRIx64, event->token);
    print_values(stream, record);
    return end_text(stream, &text);
}

static double since_start_us(const struct trace *trace, const struct ouro_trace_event *event)
{
    return (double)(event->time_ns - trace->start_ns) / 1e3;
}

/* Where the text of describe() begins. */
static const char *without_space(const char *what)
{
    return *what != '\0' ? what + 1 : what;
}

char *trace_text(const struct trace *trace)
{
    unsigned total = atomic_load_explicit(&trace->count, memory_order_relaxed);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return NULL;
    fprintf(stream, "driver: %s\n%10s  %-14s %-52s %s\n", cli_driver_name(trace->driver), "us",
            "step", "what happened", "what it means");
    bool whole = true;
    for (unsigned i = 0; whole && i < kept(trace); i++) {
        const struct ouro_trace_event *event = &trace->records[i].event;
        char *what = describe(&trace->records[i]);
        whole = what != NULL;
        if (whole)
            fprintf(stream, "%10.1f  %-14s %-52s %s\n", since_start_us(trace, event),
                    step_name(trace, event->kind), without_space(what),
                    explain(trace, event->kind));
        free(what);
    }
    if (total > TRACE_EVENTS_MAX)
        fprintf(stream, "            (%u more steps)\n", total - TRACE_EVENTS_MAX);
    text = end_text(stream, &text);
    if (whole)
        return text;
    free(text);
    return NULL;
}

json_t *trace_json(const struct trace *trace)
{
    json_t *array = json_array();
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < kept(trace); i++) {
        const struct ouro_trace_event *event = &trace->records[i].event;
        char *what = describe(&trace->records[i]);
        rc = what == NULL
                 ? -1
                 : json_array_append_new(array, json_pack("{s:f,s:s,s:o}", "us",
                                                          since_start_us(trace, event), "step",
                                                          ouro_trace_kind_name(event->kind), "what",
                                                          json_text_string(without_space(what))));
        free(what);
    }
    if (rc == 0)
        return array;
    json_decref(array);
    return NULL;
}
