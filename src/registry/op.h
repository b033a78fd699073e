/* SPDX-License-Identifier: MIT */
/*
 * Op: one operation on one registered descriptor.
 *
 * An op lies on its waiter's stack.  From submit to its one completion it, and every buffer it
 * names, belongs to the driver; done() is called exactly once, on the driver's thread, inside
 * turn(), and is the last thing the driver does with it.
 *
 *     IDLE --submit--> INFLIGHT --complete--> COMPLETED --done()--> the waiter's again
 *
 * cancel is a hint: the op still completes, with -ECANCELED or with its own result.
 */
#ifndef OURO_REGISTRY_OP_H
#define OURO_REGISTRY_OP_H

#include "base/compiler.h"
#include "base/list.h"
#include "registry/inbox.h"
#include "registry/token.h"

#include <sys/socket.h>

struct ouro__scheduled_io;
struct ouro__op;

enum ouro__op_code {
    OURO__OP_NONE = 0,
    OURO__OP_CONNECT = 1,
    OURO__OP_ACCEPT = 2,
    OURO__OP_RECV = 3,
    OURO__OP_SEND = 4,
    OURO__OP_RECVMSG = 5,
    OURO__OP_SENDMSG = 6,
    OURO__OP_POLL = 7,    /* the io_uring backend's own: reports readiness until it is cancelled */
    OURO__OP_QUIESCE = 8, /* ends when every other lane of the descriptor is idle */
    OURO__OP_CODES = 9
};

enum ouro__op_state { OURO__OP_IDLE = 0, OURO__OP_INFLIGHT = 1, OURO__OP_COMPLETED = 2 };

typedef void ouro__op_done(struct ouro__op *op);

struct ouro__op {
    struct ouro__queue_node node; /* driver's: list of results, backlog, list of tries */
    struct ouro__scheduled_io *sio;
    ouro__op_done *done;
    void *waiter;          /* done()'s */
    int32_t result;        /* valid once COMPLETED */
    int32_t cancel_reason; /* waiter's: what a cancellation is to be reported as, 0 for none */
    uint8_t code;          /* enum ouro__op_code */
    uint8_t lane;          /* enum ouro__lane */
    uint8_t state;         /* enum ouro__op_state; driver's thread only */
    uint8_t backend;       /* the backend's own flags, 0 at submit */
    bool finished;         /* waiter's thread: done() has come home */
    union {
        struct {
            const struct sockaddr *addr;
            uint32_t length;
        } connect;
        struct {
            struct sockaddr *addr; /* may be NULL */
            socklen_t *length;
        } accept;
        struct {
            void *buffer;
            size_t size;
            uint32_t flags; /* MSG_... */
        } io;
        struct {
            struct msghdr *header;
            uint32_t flags; /* MSG_... */
        } message;
        struct {
            uint32_t events; /* POLLIN ... */
        } poll;
    } arg;
};

/* The operation's name, "connect". */
const char *ouro__op_name(unsigned code);

#endif
