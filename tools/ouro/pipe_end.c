/* SPDX-License-Identifier: MIT */
/*
 * PipeEnd: stdin and stdout without blocking the worker, and without changing them for others.
 *
 * O_NONBLOCK belongs to the open file, which the shell and the other commands of a pipeline share,
 * so it is never set on what we were given.  Instead:
 *
 *   a socket              MSG_DONTWAIT, which concerns one call
 *   a pipe, a terminal    opened a second time (reopen.h): an open file of our own
 *   anything else, and    read and written as it is, by a thread of the blocking pool; what can be
 *   what cannot be        waited for is read only when poll(2) says so, so that a relay that ends
 *   opened again          does not wait for a last read
 *
 * The last way is right for everything, the others save the change of threads.  Files and block
 * devices are read and written at the offset that they came with.
 *
 * Owns:    the second open file and the registration; the original descriptor stays as it is.
 * Threads: its task's; the pool's thread while the task waits for it.
 */
#include "pipe_end.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reopen.h"

struct transfer {
    const struct pipe_end *end;
    char *buffer;
    size_t size;
};

int pipe_end_init(struct pipe_end *end, int fd, bool for_writing)
{
    *end = (struct pipe_end){.fd = fd};
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return -errno;
    if ((flags & O_ACCMODE) == (for_writing ? O_RDONLY : O_WRONLY))
        return -EBADF;

    end->is_socket = S_ISSOCK(status.st_mode);
    end->is_pty_master = reopen_is_pty_master(fd);
    int again = reopen_nonblocking(fd, for_writing);
    if (again >= 0) {
        end->fd = again;
        end->is_own = true;
    }
    if (for_writing && !end->is_socket && !end->is_own)
        return 0; /* the pool waits */
    uint32_t interest = for_writing ? OURO_WRITABLE : OURO_READABLE;
    int rc = ouro_poll_evented_new(end->fd, interest, &end->io);
    return rc == -EPERM ? 0 : rc; /* EPERM: it cannot be waited for */
}

void pipe_end_fini(struct pipe_end *end)
{
    ouro_poll_evented_free(end->io);
    end->io = NULL;
    if (end->is_own)
        close(end->fd);
    end->is_own = false;
}

static ssize_t read_some(int fd, void *arg)
{
    struct transfer *transfer = arg;
    ssize_t got;
    do {
        got = transfer->end->is_socket ? recv(fd, transfer->buffer, transfer->size, MSG_DONTWAIT)
                                       : read(fd, transfer->buffer, transfer->size);
    } while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    /* Linux ends a master's data so, when the last program has closed the terminal. */
    return errno == EIO && transfer->end->is_pty_master ? 0 : -errno;
}

static ssize_t write_some(int fd, void *arg)
{
    struct transfer *transfer = arg;
    ssize_t put;
    do {
        put = transfer->end->is_socket
                  ? send(fd, transfer->buffer, transfer->size, MSG_DONTWAIT | MSG_NOSIGNAL)
                  : write(fd, transfer->buffer, transfer->size);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

/* Whether a call on the open file itself never waits. */
static bool never_waits(const struct pipe_end *end)
{
    return end->io != NULL && (end->is_socket || end->is_own);
}

static int read_in_pool(void *arg)
{
    struct transfer *transfer = arg;
    return (int)read_some(transfer->end->fd, transfer);
}

static int write_in_pool(void *arg)
{
    struct transfer *transfer = arg;
    const int fd = transfer->end->fd;
    ssize_t put;
    while ((put = write_some(fd, transfer)) == -EAGAIN) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT}; /* it came non-blocking */
        if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
            return -errno;
    }
    return (int)put;
}

/* Runs one of the two; where no thread can be made, the worker waits instead of the pool. */
static ssize_t in_pool(ouro_task_function *function, struct transfer *transfer)
{
    int result = 0;
    int rc = ouro_blocking(function, transfer, &result);
    if (rc == -EAGAIN)
        return function(transfer);
    return rc < 0 ? rc : result;
}

static ssize_t is_readable(int fd, void *arg)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    (void)arg;
    return poll(&poll_fd, 1, 0) > 0 ? 1 : -EAGAIN;
}

ssize_t pipe_end_read(struct pipe_end *end, void *buffer, size_t size)
{
    struct transfer transfer = {.end = end, .buffer = buffer, .size = size};
    if (never_waits(end))
        return ouro_poll_evented_io(end->io, OURO_READABLE, read_some, &transfer);
    ssize_t got;
    do {
        if (end->io != NULL) {
            ssize_t rc = ouro_poll_evented_io(end->io, OURO_READABLE, is_readable, NULL);
            if (rc < 0)
                return rc;
        }
        got = in_pool(read_in_pool, &transfer);
        /* EAGAIN: it came non-blocking, and somebody else has read what there was. */
    } while (got == -EAGAIN && end->io != NULL);
    return got;
}

int pipe_end_write_all(struct pipe_end *end, const void *buffer, size_t size)
{
    struct transfer transfer = {.end = end, .buffer = (char *)buffer, .size = size};
    while (transfer.size > 0) {
        ssize_t put = never_waits(end)
                          ? ouro_poll_evented_io(end->io, OURO_WRITABLE, write_some, &transfer)
                          : in_pool(write_in_pool, &transfer);
        if (put < 0)
            return (int)put;
        transfer.buffer += put;
        transfer.size -= (size_t)put;
    }
    return 0;
}
