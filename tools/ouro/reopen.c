/* SPDX-License-Identifier: MIT */
/*
 * Reopen: a pipe or terminal as an open file of our own.
 *
 * O_NONBLOCK belongs to the open file, which the shell and the other commands of a pipeline share:
 * set on a terminal it makes the shell's next read fail, and it stays set after a kill.  Opening
 * /proc/self/fd/N gives a second open file of the same pipe or terminal, with flags of its own.
 *
 * Only these two are opened again, because only for these the second open file is the same thing:
 *
 *   a pty's master       opening it again makes a new pair
 *   a block device       the second open file begins at offset 0
 *   a regular file       the same
 *   another device       opening may rewind a tape, reserve it, or begin a new session
 *   a socket             cannot be opened; it needs no flag (MSG_DONTWAIT)
 *
 * Owns:    nothing.
 * Threads: any.
 */
#include "reopen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

bool reopen_is_pty_master(int fd)
{
    unsigned number;
    return ioctl(fd, TIOCGPTN, &number) == 0; /* ENOTTY for the terminal at the other end */
}

int reopen_nonblocking(int fd, bool for_writing)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    bool is_terminal = S_ISCHR(status.st_mode) && isatty(fd) && !reopen_is_pty_master(fd);
    if (!S_ISFIFO(status.st_mode) && !is_terminal)
        return -ENXIO;
    /* Opening again must not permit what the descriptor does not. */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    if ((flags & O_ACCMODE) == (for_writing ? O_RDONLY : O_WRONLY))
        return -EBADF;

    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int again = open(path, (for_writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return again < 0 ? -errno : again;
}
