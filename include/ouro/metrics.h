/* SPDX-License-Identifier: MIT */
/*
 * IoDriverMetrics: what the drivers have done since they were opened.  BusyPollMetrics: what
 * looking for events before sleeping has cost and saved.  ZeroCopyMetrics: sends without a copy.
 */
#ifndef OURO_METRICS_H
#define OURO_METRICS_H

#include <ouro/api.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts; registered - deregistered is what is registered now. */
struct ouro_io_driver_metrics {
    uint64_t registered;   /* descriptors registered */
    uint64_t deregistered; /* descriptors deregistered */
    uint64_t released;     /* deregistered descriptors whose shared state was freed */
    uint64_t ready;        /* readiness events delivered */
    uint64_t submitted;    /* operations handed to a driver */
    uint64_t completed;    /* operations completed; submitted - completed is in flight now */
    uint64_t cancelled;    /* cancellations requested from a driver */
    uint64_t stale;        /* events for a descriptor that was gone, dropped */
    uint64_t overflowed;   /* times the completion queue had overflowed (io_uring) */
    uint64_t turns;        /* turns of the drivers */
    uint64_t sleeps;       /* turns that blocked in the kernel */
    uint64_t unparks;      /* wakes from other threads that needed a system call */
};

/* saved_ns - looked_ns is what looking has gained, in CPU time. */
struct ouro_busy_poll_metrics {
    size_t size;        /* sizeof(struct ouro_busy_poll_metrics), filled in by the caller */
    uint64_t looks;     /* times a driver looked before sleeping */
    uint64_t found;     /* times it saw an event and did not sleep */
    uint64_t looked_ns; /* CPU time of all looks */
    uint64_t saved_ns;  /* CPU time by which that made the rest of the work cheaper, as measured
                           against times in which the driver did not look; 0 where it was asked to
                           look always */
};

#define OURO_BUSY_POLL_METRICS_INIT                                                                \
    {                                                                                              \
        sizeof(struct ouro_busy_poll_metrics), 0, 0, 0, 0                                          \
    }

/* Of ouro_stream_write_loan(). */
struct ouro_zero_copy_metrics {
    size_t size;     /* sizeof(struct ouro_zero_copy_metrics), filled in by the caller */
    uint64_t sends;  /* sends for which the kernel was given the buffer itself */
    uint64_t copied; /* of them: the kernel has copied the bytes all the same */
};

#define OURO_ZERO_COPY_METRICS_INIT                                                                \
    {                                                                                              \
        sizeof(struct ouro_zero_copy_metrics), 0, 0                                                \
    }

#ifdef __cplusplus
}
#endif

#endif
