/* SPDX-License-Identifier: MIT */
/*
 * Fault points: places where a test can make a system call, or a completion, go wrong on demand.
 * Outside of testing builds each is the constant 0 and the compiler removes it.
 */
#ifndef OURO_BASE_FAULT_H
#define OURO_BASE_FAULT_H

#include "base/compiler.h"

enum ouro__fault_point {
    OURO__FAULT_NONE = 0,
    OURO__FAULT_SOCKET,       /* socket(2) */
    OURO__FAULT_ACCEPT,       /* an accept: it is not made, and returns this */
    OURO__FAULT_ATTACH,       /* the backend's attach */
    OURO__FAULT_DRIVER_OPEN,  /* a worker's driver */
    OURO__FAULT_THREAD,       /* pthread_create(3) */
    OURO__FAULT_STACK,        /* a fiber's stack */
    OURO__FAULT_RING_ENTER,   /* io_uring_enter(2), before the kernel sees anything */
    OURO__FAULT_RING_SQE,     /* no room in the submission queue */
    OURO__FAULT_RING_CONNECT, /* the result of IORING_OP_CONNECT is replaced */
    OURO__FAULT_RING_RESULT,  /* the result of an operation's request is replaced */
    OURO__FAULT_RING_SIZE,    /* -n: a request moves n bytes at most */
    OURO__FAULT_RING_BUFFERS, /* the kernel refuses a ring of buffers */
    /* -ENOENT: the notification of a send without a copy does not come; else it says that the
     * kernel has not copied */
    OURO__FAULT_RING_NOTIFICATION,
    OURO__FAULT_EPOLL_WAIT,     /* epoll_wait(2) */
    OURO__FAULT_EPOLL_CONNECT,  /* connect(2): it is made, then said to have returned this */
    OURO__FAULT_EPOLL_SPURIOUS, /* a spurious EPOLLOUT while a connect waits */
    OURO__FAULT_QUIRK_TEST,     /* a self-test: -ENOENT: it finds nothing; else it cannot be run */
    OURO__FAULT_POINTS
};

#ifdef OURO_TESTING
/* 0, or the -errno that a test has armed @point with and that is due now. */
int ouro__fault(enum ouro__fault_point point);

/* From the @first-th passage on (1: the next) @point gives @error (-errno), @times times. */
void ouro__fault_arm(enum ouro__fault_point point, uint64_t first, uint64_t times, int error);
void ouro__fault_disarm_all(void);
/* How often @point has fired. */
uint64_t ouro__fault_fired(enum ouro__fault_point point);
#else
static inline int ouro__fault(enum ouro__fault_point point)
{
    (void)point;
    return 0;
}
#endif

#endif
