/* SPDX-License-Identifier: MIT */
/*
 * Connect's end, decided in one place for both backends.
 *
 * SO_ERROR comes first; reading resets it, so it is read once and believed.  Without an error the
 * socket has a peer or it has none: a writable socket is not yet a connected one, since an event
 * may be late or mean something else.  No peer and no hang-up: the connect goes on.  No peer and a
 * hang-up: it has ended and somebody else has read the error.  Any other failure of getpeername(2)
 * is the result; it is not a success.
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
