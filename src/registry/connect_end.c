/* SPDX-License-Identifier: MIT */
/*
 * The end of a connect, decided in one place for both backends.
 *
 * SO_ERROR is read first.  Reading resets it, so it is read once; an error there is the result.
 * Without an error getpeername(2) decides: a writable socket need not be connected, because an
 * event may be late or mean something else.  With a peer the connect has succeeded.  Without a peer
 * and without a hang-up it is still in progress.  Without a peer but with a hang-up it has ended
 * and another reader has taken the error; the result is -ECONNABORTED.  Any other failure of
 * getpeername(2) is the result.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  0 is the result only for a socket that has a peer.
 * Tests:   tests/registry/test_connect_end.c, tests/epoll/test_connect.c, tests/uring/test_ring.c
 */
#include "registry/connect_end.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static bool has_hung_up(int fd)
{
    struct pollfd look = {.fd = fd};
    return poll(&look, 1, 0) == 1 && (look.revents & (POLLHUP | POLLNVAL)) != 0;
}

bool ouro__connect_has_ended(int fd, int32_t *out_result)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0) {
        struct sockaddr_storage peer;
        length = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &length) != 0)
            error = errno;
    }
    if (error == ENOTCONN) {
        if (!has_hung_up(fd))
            return false;
        error = ECONNABORTED;
    }
    *out_result = -error;
    return true;
}
