/* SPDX-License-Identifier: MIT */
/*
 * The gate that connections come through: it lets in a number at a time, and closes for good when
 * the proxy drains.
 */
#ifndef OURO_CLI_PROXY_GATE_H
#define OURO_CLI_PROXY_GATE_H

#include <ouro.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proxy_gate {
    pthread_mutex_t lock; /* of all below */
    uint64_t inside, max;
    bool is_closed;
    size_t waiters_count;
    struct ouro_waker *waiters; /* one place for each that waits; without a vtable: nobody */
};

/* @waiters_count tasks may wait at the gate, each with a number.  0 or -ENOMEM. */
int proxy_gate_init(struct proxy_gate *gate, uint64_t max, size_t waiters_count);
void proxy_gate_fini(struct proxy_gate *gate);

/* In a task: waits for room and takes it.  -ESHUTDOWN when the gate is closed. */
int proxy_gate_enter(struct proxy_gate *gate, size_t number);

/* Takes room even if there is none, or the gate is closed. */
void proxy_gate_squeeze(struct proxy_gate *gate);

/* Gives room back. */
void proxy_gate_leave(struct proxy_gate *gate);

/*
 * In a task: waits until @io is readable, 0, and the gate is closed, -ESHUTDOWN; or for the latter
 * only, without @io.  @event is cleared first if it holds anything, and set.
 */
int proxy_gate_wait(struct proxy_gate *gate, size_t number, struct ouro_poll_evented *io,
                    struct ouro_ready_event *event);

/* Closes the gate: who waits gets -ESHUTDOWN, and who enters later.  From any thread. */
void proxy_gate_close(struct proxy_gate *gate);

bool proxy_gate_is_closed(struct proxy_gate *gate);

#endif
