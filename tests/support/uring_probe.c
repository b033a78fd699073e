/* SPDX-License-Identifier: MIT */
/*
 * Asks the kernel for a ring, independently of the library.
 *
 * Owns:    nothing; the ring is closed before it returns.
 * Threads: any.
 * Always:  one io_uring_setup(2), nothing else of io_uring.
 */
#include "support/uring_probe.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

int ouro_test_uring_probe(void)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    long fd = syscall(SYS_io_uring_setup, 8, &params);
    if (fd < 0)
        return -errno;
    (void)close((int)fd);
    return 0;
}
