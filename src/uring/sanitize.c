/* SPDX-License-Identifier: MIT */
/*
 * Telling ASan, TSan and Valgrind what the kernel does behind their backs.
 *
 *   ASan      at submit and at the CQE every byte that the operation names is looked up; a poisoned
 *             one is touched, so that the report is ASan's own, with who freed it and where.
 *   Valgrind  the same check; then what the kernel filled is declared defined.
 *   TSan      the hand-over of the operation to the kernel and back; and, as TSan itself does for
 *             send(2) and recv(2), one common order for all sockets: who has received may look at
 *             what was written before the sending.
 *
 * Owns:    nothing.
 * Threads: the driver's.
 * Always:  without a checker nothing happens and nothing is paid but one untaken branch.
 * Tests:   tests/uring/test_ring_life.c
 */
#include "uring/sanitize.h"

#if OURO__ASAN
#include <sanitizer/asan_interface.h>
#endif
#if OURO__TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if OURO__URING_VALGRIND
#include <valgrind/memcheck.h>
#endif

_Atomic bool ouro__sanitize_on;
_Atomic bool ouro__sanitize_on_valgrind;

#if OURO__TSAN
static char all_sockets;
#endif

/* Several drivers may be opened at a time. */
static void set(_Atomic bool *flag)
{
    if (!ouro__load(flag, memory_order_relaxed))
        ouro__store(flag, true, memory_order_relaxed);
}

void ouro__sanitize_init(void)
{
#if OURO__URING_VALGRIND
    if (RUNNING_ON_VALGRIND != 0) {
        set(&ouro__sanitize_on_valgrind);
        set(&ouro__sanitize_on);
    }
#endif
    if (OURO__ASAN || OURO__TSAN)
        set(&ouro__sanitize_on);
}

static void check(const void *memory, size_t size)
{
    if (memory == NULL || size == 0)
        return;
#if OURO__ASAN
    const volatile char *poisoned = __asan_region_is_poisoned((void *)(uintptr_t)memory, size);
    if (poisoned != NULL)
        (void)*poisoned;
#endif
#if OURO__URING_VALGRIND
    (void)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(memory, size);
#endif
}

static void filled(const void *memory, size_t size)
{
#if OURO__URING_VALGRIND
    if (memory != NULL && size > 0)
        (void)VALGRIND_MAKE_MEM_DEFINED(memory, size);
#else
    (void)memory;
    (void)size;
#endif
}

static void check_message(const struct msghdr *header)
{
    check(header, sizeof(*header));
    check(header->msg_iov, header->msg_iovlen * sizeof(*header->msg_iov));
    check(header->msg_name, header->msg_namelen);
    check(header->msg_control, header->msg_controllen);
    for (size_t i = 0; i < header->msg_iovlen; i++)
        check(header->msg_iov[i].iov_base, header->msg_iov[i].iov_len);
}

/* The kernel has written lengths and flags, name and control data, and @size bytes of data. */
static void filled_message(const struct msghdr *header, size_t size)
{
    filled(header, sizeof(*header));
    filled(header->msg_name, header->msg_namelen);
    filled(header->msg_control, header->msg_controllen);
    for (size_t i = 0; i < header->msg_iovlen && size > 0; i++) {
        size_t part = header->msg_iov[i].iov_len < size ? header->msg_iov[i].iov_len : size;
        filled(header->msg_iov[i].iov_base, part);
        size -= part;
    }
}

static void check_op(const struct ouro__op *op)
{
    check(op, sizeof(*op));
    switch (op->code) {
    case OURO__OP_CONNECT:
        check(op->arg.connect.addr, op->arg.connect.length);
        break;
    case OURO__OP_ACCEPT:
        check(op->arg.accept.length, sizeof(*op->arg.accept.length));
        if (op->arg.accept.addr != NULL)
            check(op->arg.accept.addr, *op->arg.accept.length);
        break;
    case OURO__OP_RECV:
    case OURO__OP_SEND:
        check(op->arg.io.buffer, op->arg.io.size);
        break;
    case OURO__OP_RECVMSG:
    case OURO__OP_SENDMSG:
        check_message(op->arg.message.header);
        break;
    default:
        break;
    }
}

void ouro__sanitize_submit_slow(const struct ouro__op *op)
{
    check_op(op);
#if OURO__TSAN
    __tsan_release((void *)(uintptr_t)op);
    if (op->code == OURO__OP_SEND || op->code == OURO__OP_SENDMSG || op->code == OURO__OP_CONNECT)
        __tsan_release(&all_sockets);
#endif
}

static void filled_op(const struct ouro__op *op, size_t size)
{
    switch (op->code) {
    case OURO__OP_ACCEPT:
        if (op->arg.accept.addr != NULL) {
            filled(op->arg.accept.length, sizeof(*op->arg.accept.length));
            filled(op->arg.accept.addr, *op->arg.accept.length);
        }
        break;
    case OURO__OP_RECV:
        filled(op->arg.io.buffer, size);
        break;
    case OURO__OP_RECVMSG:
        filled_message(op->arg.message.header, size);
        break;
    default:
        break;
    }
}

void ouro__sanitize_complete_slow(const struct ouro__op *op, int32_t result)
{
#if OURO__TSAN
    __tsan_acquire((void *)(uintptr_t)op);
    if (result >= 0 && (op->lane == OURO__LANE_READ || op->lane == OURO__LANE_ACCEPT))
        __tsan_acquire(&all_sockets);
#endif
    check_op(op);
    if (result >= 0)
        filled_op(op, (size_t)result);
}
