/* SPDX-License-Identifier: MIT */
/*
 * Trace points: the library reports each of its steps to a function of the program.
 *
 * The function in ouro_runtime_config.trace is called at each step, on the thread that takes the
 * step, often inside the driver.  It must be quick, must not suspend and must not call the library.
 * The event is valid during the call only.  Without a function a trace point costs one untaken
 * branch.
 */
#ifndef OURO_TRACE_H
#define OURO_TRACE_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_socket_addr;

/* The steps on the way from an address to a stream.  Each comment lists the fields that are set. */
enum ouro_trace_kind {
    OURO_TRACE_PARSED = 1,     /* text was a literal address; addr */
    OURO_TRACE_RESOLVED = 2,   /* the resolver gave an address; addr, a = index, b = how many */
    OURO_TRACE_ATTEMPT = 3,    /* attempt a (from 1) of b begins; addr */
    OURO_TRACE_SOCKET = 4,     /* socket made; fd */
    OURO_TRACE_REGISTERED = 5, /* with the driver; fd, token, a = worker or driver thread */
    OURO_TRACE_SUBMITTED =
        6,                /* io_uring: SQE filled; epoll: operation queued; fd, token, a = opcode */
    OURO_TRACE_TRIED = 7, /* epoll: the system call was made; fd, token, result */
    OURO_TRACE_ARMED = 8, /* epoll: EPOLL_CTL_ADD, a = events */
    OURO_TRACE_COMPLETED = 9,     /* io_uring: CQE reaped; epoll: final result; fd, token, result */
    OURO_TRACE_EVENT = 10,        /* epoll: event reaped; fd, token, a = events */
    OURO_TRACE_READINESS = 11,    /* readiness word; fd, token, a = before, b = after */
    OURO_TRACE_WOKEN = 12,        /* the waiter; token, name of the task or "thread" */
    OURO_TRACE_CONNECTED = 13,    /* attempt a succeeded; fd, addr */
    OURO_TRACE_FAILED = 14,       /* attempt a failed; addr, result */
    OURO_TRACE_CREATED = 15,      /* the stream; fd, addr */
    OURO_TRACE_DEREGISTERED = 16, /* fd, token */
    OURO_TRACE_RELEASED = 17      /* the shared half was freed; token */
};

struct ouro_trace_event {
    enum ouro_trace_kind kind;
    int fd;          /* -1 where there is none */
    int64_t time_ns; /* ouro_now_ns() */
    uint64_t token;  /* generation, slab index and lane; 0 where there is none */
    int64_t result;  /* a count, 0 or a negative code */
    uint64_t a, b;   /* as listed with the kind */
    const struct ouro_socket_addr *addr; /* NULL where there is none */
    const char *name;                    /* operation or waiter; NULL where there is none */
};

typedef void ouro_trace_function(void *arg, const struct ouro_trace_event *event);

/*
 * Returns a step's name in one or two words: "socket", "registered", "SQE submitted".
 *
 * Owns:    constant text; "?" for unknown kinds.
 * Threads: any.
 * Since:   0.1
 */
OURO_API const char *ouro_trace_kind_name(enum ouro_trace_kind kind);

/*
 * Formats a readiness word as text into @buffer, such as "readable|writable r3 w7".
 *
 * Owns:    @buffer is the caller's; the text is cut to @size_bytes, always terminated.
 * Threads: any.
 * Since:   0.1
 */
OURO_API void ouro_trace_format_readiness(uint64_t word, char *buffer, size_t size_bytes);

#ifdef __cplusplus
}
#endif

#endif
