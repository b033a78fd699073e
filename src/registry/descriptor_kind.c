/* SPDX-License-Identifier: MIT */
/*
 * Descriptor kind: what a hang-up or an error means for a descriptor.
 *
 * poll(2) reports POLLHUP and POLLERR for states that end again.  A TCP socket reports POLLHUP
 * until it connects or listens.  The reading end of a FIFO reports it until the next writer opens
 * the FIFO, a pty master until somebody opens the terminal again.  A socket reports POLLERR while
 * its error queue holds a time stamp or a zero-copy completion.  READ_CLOSED and WRITE_CLOSED are
 * never cleared, so a bit set from such a state satisfies every later wait, and a caller that
 * repeats a system call as long as it returns EAGAIN never waits again.
 *
 * So the closed bits are set only for two kinds:
 *
 *   kind          POLLRDHUP      POLLHUP               POLLERR
 *   connected     READ_CLOSED    both closed bits      ERROR
 *   pipe          -              both closed bits      ERROR, WRITE_CLOSED (no reader is left)
 *   all others    READABLE       READABLE, WRITABLE    ERROR
 *
 * POLLERR also sets READABLE and WRITABLE, since poll(2) ends every wait with it.  What such a
 * state sets is cleared like any readiness, and is checked with poll(2) before a wait is answered
 * with it: the state may have ended without an event (registry/registration.c).
 *
 * For a descriptor on which only operations are made the bits are hints; no call waits for them.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  a closed bit is final for the descriptor.  Two exceptions: connect(2) with AF_UNSPEC
 *          makes a connected socket unconnected, and a pipe that is opened again through /proc gets
 *          a new writer.
 * Tests:   tests/registry/test_descriptor_kind.c, tests/net/test_poll_hangup.c
 */
#include "registry/descriptor_kind.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define PIPE_FILE_SYSTEM 0x50495045 /* PIPEFS_MAGIC, <linux/magic.h> */

static bool has_peer(int fd)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
}

static enum ouro__descriptor_kind socket_kind(int fd)
{
    int type = 0;
    socklen_t length = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 ||
        (type != SOCK_STREAM && type != SOCK_SEQPACKET))
        return OURO__KIND_OTHER;
    return has_peer(fd) ? OURO__KIND_CONNECTED : OURO__KIND_UNCONNECTED;
}

enum ouro__descriptor_kind ouro__descriptor_kind_of(int fd)
{
    struct stat status;
    struct statfs file_system;
    if (fstat(fd, &status) != 0)
        return OURO__KIND_OTHER;
    if (S_ISSOCK(status.st_mode))
        return socket_kind(fd);
    if (S_ISFIFO(status.st_mode) && fstatfs(fd, &file_system) == 0 &&
        file_system.f_type == PIPE_FILE_SYSTEM)
        return OURO__KIND_PIPE;
    return OURO__KIND_OTHER;
}

/* An event from before the connect may arrive after it.  So its hang-up counts only if poll(2)
 * still reports one. */
static uint32_t without_old_ends(int fd, uint32_t events)
{
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    if (poll(&look, 1, 0) < 0)
        look.revents = 0;
    return events & ((uint32_t)(unsigned short)look.revents | ~(uint32_t)(POLLHUP | POLLRDHUP));
}

uint32_t ouro__descriptor_ready(int fd, uint8_t *kind, uint32_t events, bool *out_is_final)
{
    uint32_t ready = ouro__descriptor_plain_ready(events);
    *out_is_final = true;
    if (!ouro__descriptor_tells_end(events))
        return ready;
    if ((events & POLLERR) != 0)
        ready |= OURO_ERROR;
    if (*kind == OURO__KIND_UNCONNECTED && has_peer(fd)) {
        *kind = OURO__KIND_CONNECTED;
        events = without_old_ends(fd, events);
    }

    bool ends = *kind != OURO__KIND_UNCONNECTED && *kind != OURO__KIND_OTHER;
    if (ends && (events & POLLHUP) != 0)
        return ready | OURO_READ_CLOSED | OURO_WRITE_CLOSED;
    if (ends && (events & POLLRDHUP) != 0)
        ready |= OURO_READ_CLOSED;
    if (*kind == OURO__KIND_PIPE && (events & POLLERR) != 0)
        ready |= OURO_WRITE_CLOSED;
    if (*kind == OURO__KIND_UNKNOWN || *kind == OURO__KIND_PIPE)
        return ready;

    *out_is_final = ends && (events & POLLERR) == 0;
    if ((events & (POLLHUP | POLLERR)) != 0)
        ready |= OURO_READABLE | OURO_WRITABLE;
    else if (!ends)
        ready |= OURO_READABLE;
    return ready;
}

bool ouro__descriptor_is_ready_now(int fd, uint32_t interest)
{
    struct pollfd look = {.fd = fd};
    if ((interest & OURO_READABLE) != 0)
        look.events |= POLLIN | POLLPRI | POLLRDHUP;
    if ((interest & OURO_PRIORITY) != 0)
        look.events |= POLLPRI | POLLRDHUP;
    if ((interest & OURO_WRITABLE) != 0)
        look.events |= POLLOUT;
    return poll(&look, 1, 0) != 0; /* a failure is no reason to wait */
}
