/* SPDX-License-Identifier: MIT */
/*
 * PipeEnd: stdin and stdout without blocking the worker, and without changing them for others.
 *
 * O_NONBLOCK belongs to the open file, which the shell and the other commands of a pipeline share:
 * set it on a terminal and the shell's next read fails; leave it set by dying and it stays so.
 * Hence, in this order:
 *
 *   - a socket is used with MSG_DONTWAIT, which concerns one call only;
 *   - anything else is opened a second time through /proc/self/fd: the same pipe or terminal, but
 * an open file of our own, whose flags are nobody else's business;
 *   - where that is refused (a terminal of another user after su), the shared flag is set, and is
 *     taken back at the end, and on the signals that would end the program.
 *
 * What cannot be waited for (a regular file: -EPERM from the registration) is read and written as
 * it stands.
 *
 * Owns:    the second open file and the registration; the original descriptor stays as it is.
 * Threads: its task's.  The list of changed files is also read by the signal handler.
 */
#include "pipe_end.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those whose shared flag was set: at most stdin and stdout. */
static struct pipe_end *volatile changed;

static void set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* Takes the flag back and lets the signal do what it would have done. */
static void restore_and_die(int number)
{
    for (struct pipe_end *end = changed; end != NULL; end = end->next_changed)
        set_nonblocking(end->fd, false);
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigaction(number, &action, NULL);
    (void)raise(number);
}

static void change_shared_flag(struct pipe_end *end)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    int flags = fcntl(end->fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK) != 0)
        return; /* it was so when we came, and stays so */
    for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++) {
        struct sigaction action = {.sa_handler = restore_and_die}, before;
        if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            (void)sigaction(ending[i], &action, NULL);
    }
    end->next_changed = changed;
    changed = end;
    set_nonblocking(end->fd, true);
}

/* The same file once more, non-blocking; or -errno. */
static int reopen(int fd, bool for_writing)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int flags = (for_writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int again = open(path, flags);
    return again < 0 ? -errno : again;
}

int pipe_end_init(struct pipe_end *end, int fd, bool for_writing)
{
    *end = (struct pipe_end){.fd = fd};
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return -errno;
    /* Opening it again must not permit what the descriptor we were given does not. */
    if ((flags & O_ACCMODE) == (for_writing ? O_RDONLY : O_WRONLY))
        return -EBADF;
    /* A second open file would have an offset of its own, and files do not block anyway. */
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        return 0;

    end->is_socket = S_ISSOCK(status.st_mode);
    int again = end->is_socket ? -ENXIO : reopen(fd, for_writing);
    if (again >= 0) {
        end->fd = again;
        end->owns_fd = true;
    }
    uint32_t interest = for_writing ? OURO_WRITABLE : OURO_READABLE;
    int rc = ouro_poll_evented_new(end->fd, interest, &end->io);
    if (rc == -EPERM)
        return 0;
    if (rc == 0 && !end->is_socket && !end->owns_fd)
        change_shared_flag(end);
    return rc;
}

void pipe_end_fini(struct pipe_end *end)
{
    ouro_poll_evented_free(end->io);
    end->io = NULL;
    for (struct pipe_end *each = changed; each != NULL; each = each->next_changed) {
        if (each == end) {
            set_nonblocking(end->fd, false);
            break;
        }
    }
    if (end->owns_fd)
        close(end->fd);
    end->owns_fd = false;
}

struct transfer {
    const struct pipe_end *end;
    char *buffer;
    size_t size;
};

static ssize_t read_some(int fd, void *arg)
{
    struct transfer *transfer = arg;
    ssize_t got;
    do {
        got = transfer->end->is_socket ? recv(fd, transfer->buffer, transfer->size, MSG_DONTWAIT)
                                       : read(fd, transfer->buffer, transfer->size);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
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

ssize_t pipe_end_read(struct pipe_end *end, void *buffer, size_t size)
{
    struct transfer transfer = {.end = end, .buffer = buffer, .size = size};
    if (end->io == NULL)
        return read_some(end->fd, &transfer);
    return ouro_poll_evented_io(end->io, OURO_READABLE, read_some, &transfer);
}

int pipe_end_write_all(struct pipe_end *end, const void *buffer, size_t size)
{
    struct transfer transfer = {.end = end, .buffer = (char *)buffer, .size = size};
    while (transfer.size > 0) {
        ssize_t put = end->io == NULL
                          ? write_some(end->fd, &transfer)
                          : ouro_poll_evented_io(end->io, OURO_WRITABLE, write_some, &transfer);
        if (put < 0)
            return (int)put;
        transfer.buffer += put;
        transfer.size -= (size_t)put;
    }
    return 0;
}
