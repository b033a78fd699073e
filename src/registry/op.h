/* SPDX-License-Identifier: MIT */
/*
 * Op: one operation.
 *
 * An op lies on its waiter's stack.  From submit to its one completion it, and every buffer it
 * names, belongs to the driver; done() is called exactly once, on the driver's thread, inside
 * turn(), and is the last thing the driver does with it.
 *
 *     IDLE --submit--> INFLIGHT --complete--> COMPLETED --done()--> the waiter's again
 *
 * An ACCEPT that finds its lane taken is QUEUED first (registry/accept.c).
 *
 * cancel is a hint: the op still completes, with -ECANCELED or with its own result.
 *
 * An operation that a descriptor has at most one of at a time is in a lane of its ScheduledIo.  Any
 * other takes a slot of the driver (registry/op_slots.h): several of them may be in flight on one
 * descriptor, and the descriptor need not be registered.
 */
#ifndef OURO_REGISTRY_OP_H
#define OURO_REGISTRY_OP_H

#include "base/compiler.h"
#include "base/list.h"
#include "registry/token.h"

#include <poll.h>
#include <sys/socket.h>

struct ouro__driver_handle;
struct ouro__loan_buffer;
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
    OURO__OP_QUIESCE = 8, /* the driver's own: ends when all others of the descriptor have ended */
    OURO__OP_AWAIT_READ = 9, /* moves nothing: ends when a read or a write would not wait */
    OURO__OP_AWAIT_WRITE = 10,
    OURO__OP_FILE_READ = 11, /* in a slot, as the next two */
    OURO__OP_FILE_WRITE = 12,
    OURO__OP_SPLICE = 13,
    OURO__OP_ACCEPT_MANY = 14,    /* the driver's own: brings connections until it is cancelled */
    OURO__OP_RECV_LOAN = 15,      /* a RECV into a buffer of the driver's pool */
    OURO__OP_TAKE_LOAN = 16,      /* gets such a buffer and receives nothing */
    OURO__OP_SEND_ZERO_COPY = 17, /* in a slot; its memory is lent (registry/zero_copy.h) */
    OURO__OP_CODES = 18
};

enum ouro__op_state {
    OURO__OP_IDLE = 0,
    OURO__OP_INFLIGHT = 1,
    OURO__OP_COMPLETED = 2,
    OURO__OP_QUEUED = 3, /* submitted, and waits for its lane */
};

typedef void ouro__op_done(struct ouro__op *op);

struct ouro__op {
    struct ouro__queue_node node;       /* driver's: list of results, backlog, list of tries */
    struct ouro__scheduled_io *sio;     /* NULL: an operation in a slot that names none */
    struct ouro__driver_handle *handle; /* whose driver does it; sio->handle, if there is an sio */
    ouro__op_done *done;
    void *waiter;          /* done()'s */
    uint64_t token;        /* driver's, from submit on */
    int32_t result;        /* valid once COMPLETED; before, the backend's count so far */
    int32_t cancel_reason; /* waiter's: what a cancellation is to be reported as, 0 for none */
    int fd;                /* driver's: sio->fd; without an sio the caller's */
    uint16_t backend;      /* the backend's own flags, 0 at submit */
    uint8_t code;          /* enum ouro__op_code */
    uint8_t lane;          /* enum ouro__lane; OURO__LANE_SLOT: takes a slot */
    uint8_t state;         /* enum ouro__op_state; driver's thread only */
    bool finished;         /* waiter's thread: done() has been called */
    union {
        struct {
            const struct sockaddr *addr;
            uint32_t length;
        } connect;
        struct {
            struct sockaddr
                *addr; /* may be NULL; left as it is if the connection was there before */
            socklen_t *length;
            bool is_singly; /* of the descriptor: nothing is accepted before it was asked for */
        } accept;
        struct {
            void *buffer;
            size_t size;
            uint32_t flags;                 /* MSG_... */
            struct ouro__loan_buffer *loan; /* RECV_LOAN, TAKE_LOAN: has @buffer; NULL: none yet */
        } io;
        struct {
            struct msghdr *header;
            uint32_t flags; /* MSG_... */
        } message;
        struct {
            uint32_t events; /* POLLIN ... */
        } poll;
        struct {
            void *buffer;
            size_t size;
            uint64_t offset;
        } file;
        struct { /* from the op's descriptor to another */
            size_t size;
            int64_t offset;     /* -1: of a pipe or socket, which have none */
            int64_t out_offset; /* likewise */
            int out_fd;
            int wait_fd; /* backend's: which of the two is not ready */
        } splice;
    } arg;
};

/*
 * An operation in a lane, but its arg.  What the waiting layer and the driver store before they
 * read it is left as it is: clearing the whole op costs more than the rest of a call.
 */
static inline void ouro__op_init(struct ouro__op *op, enum ouro__op_code code, unsigned lane)
{
    op->code = (uint8_t)code;
    op->lane = (uint8_t)lane;
}

/* The same, with arg.io. */
static inline void ouro__op_init_io(struct ouro__op *op, enum ouro__op_code code, unsigned lane,
                                    const void *buffer, size_t size, uint32_t flags)
{
    ouro__op_init(op, code, lane);
    op->arg.io.buffer = (void *)(uintptr_t)buffer; /* a send only reads it */
    op->arg.io.size = size;
    op->arg.io.flags = flags;
}

/* RECV_LOAN or TAKE_LOAN, of at most @size bytes. */
static inline void ouro__op_init_loan(struct ouro__op *op, enum ouro__op_code code, unsigned lane,
                                      size_t size)
{
    ouro__op_init_io(op, code, lane, NULL, size, 0);
    op->arg.io.loan = NULL;
}

/* The most of @size bytes that one operation can transfer: its result is an int32_t. */
static inline size_t ouro__op_clamp(size_t size)
{
    return size < INT32_MAX ? size : INT32_MAX;
}

/* The operation's name, "connect". */
const char *ouro__op_name(unsigned code);

/* Whether a result above 0 of such an operation is a number of bytes. */
bool ouro__op_moves_bytes(unsigned code);

/* How many bytes the message's buffers hold. */
size_t ouro__op_message_size(const struct msghdr *header);

/*
 * The system call of an operation that a backend may lack a row for: a count, or -errno; -EAGAIN
 * when it must be called again after a wait for what ouro__op_poll_fds() gives.  It may wait for a
 * disk, but not for a peer.
 */
int32_t ouro__op_call(const struct ouro__op *op);

/*
 * Which descriptors a SPLICE that returned -EAGAIN waits for.  Fills in @fds, returns how many.
 */
unsigned ouro__op_poll_fds(const struct ouro__op *op, struct pollfd fds[2]);

#endif
