/* SPDX-License-Identifier: MIT */
/*
 * Sanitize: tells ASan, TSan and Valgrind which memory the kernel reads and writes.
 *
 *   ASan      at submit and at the CQE every byte that the operation names is looked up; a poisoned
 *             one is touched, so that the report is ASan's own, with who freed it and where.
 *   Valgrind  the same check; then what the kernel filled is declared defined.
 *   TSan      the hand-over of the operation to the kernel and back; and, as TSan itself does for
 *             send(2) and recv(2), one common order for all sockets and files: a receiver may read
 *             what was written before the sending.
 *
 * Owns:    nothing.
 * Threads: the driver's.
 * Always:  without a checker each call costs one untaken branch.
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
static char all_ends;
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

static void check_address(const struct ouro__op *op)
{
    check(op->arg.connect.addr, op->arg.connect.length);
}

static void check_peer(const struct ouro__op *op)
{
    check(op->arg.accept.length, sizeof(*op->arg.accept.length));
    if (op->arg.accept.addr != NULL)
        check(op->arg.accept.addr, *op->arg.accept.length);
}

static void filled_peer(const struct ouro__op *op, size_t size)
{
    (void)size;
    if (op->arg.accept.addr == NULL)
        return;
    filled(op->arg.accept.length, sizeof(*op->arg.accept.length));
    filled(op->arg.accept.addr, *op->arg.accept.length);
}

static void check_io(const struct ouro__op *op)
{
    check(op->arg.io.buffer, op->arg.io.size);
}

static void filled_io(const struct ouro__op *op, size_t size)
{
    filled(op->arg.io.buffer, size);
}

static void check_message(const struct ouro__op *op)
{
    const struct msghdr *header = op->arg.message.header;
    check(header, sizeof(*header));
    check(header->msg_iov, header->msg_iovlen * sizeof(*header->msg_iov));
    check(header->msg_name, header->msg_namelen);
    check(header->msg_control, header->msg_controllen);
    for (size_t i = 0; i < header->msg_iovlen; i++)
        check(header->msg_iov[i].iov_base, header->msg_iov[i].iov_len);
}

/* The kernel has written lengths and flags, name and control data, and @size bytes of data. */
static void filled_message(const struct ouro__op *op, size_t size)
{
    const struct msghdr *header = op->arg.message.header;
    filled(header, sizeof(*header));
    filled(header->msg_name, header->msg_namelen);
    filled(header->msg_control, header->msg_controllen);
    for (size_t i = 0; i < header->msg_iovlen && size > 0; i++) {
        size_t part = header->msg_iov[i].iov_len < size ? header->msg_iov[i].iov_len : size;
        filled(header->msg_iov[i].iov_base, part);
        size -= part;
    }
}

static void check_file(const struct ouro__op *op)
{
    check(op->arg.file.buffer, op->arg.file.size);
}

static void filled_file(const struct ouro__op *op, size_t size)
{
    filled(op->arg.file.buffer, size);
}

static const struct {
    void (*check)(const struct ouro__op *op);
    void (*filled)(const struct ouro__op *op, size_t size); /* NULL: the kernel writes nothing */
    bool gives; /* what happened before comes before what the receiver does */
    bool takes;
} kinds[OURO__SANITIZE_KINDS] = {
    [OURO__SANITIZE_ADDRESS] = {check_address, NULL, true, false},
    [OURO__SANITIZE_PEER] = {check_peer, filled_peer, false, true},
    [OURO__SANITIZE_SENT] = {check_io, NULL, true, false},
    [OURO__SANITIZE_RECEIVED] = {check_io, filled_io, false, true},
    [OURO__SANITIZE_MESSAGE_SENT] = {check_message, NULL, true, false},
    [OURO__SANITIZE_MESSAGE_RECEIVED] = {check_message, filled_message, false, true},
    [OURO__SANITIZE_FILE_WRITTEN] = {check_file, NULL, true, false},
    [OURO__SANITIZE_FILE_READ] = {check_file, filled_file, false, true},
};

static void check_op(const struct ouro__op *op, unsigned memory)
{
    check(op, sizeof(*op));
    if (kinds[memory].check != NULL)
        kinds[memory].check(op);
}

void ouro__sanitize_submit_slow(const struct ouro__op *op, unsigned memory)
{
    check_op(op, memory);
#if OURO__TSAN
    __tsan_release((void *)(uintptr_t)op);
    if (kinds[memory].gives)
        __tsan_release(&all_ends);
#endif
}

void ouro__sanitize_complete_slow(const struct ouro__op *op, unsigned memory, int32_t result)
{
#if OURO__TSAN
    __tsan_acquire((void *)(uintptr_t)op);
    if (result >= 0 && kinds[memory].takes)
        __tsan_acquire(&all_ends);
#endif
    check_op(op, memory);
    if (result >= 0 && kinds[memory].filled != NULL)
        kinds[memory].filled(op, (size_t)result);
}
