/* SPDX-License-Identifier: MIT */
/*
 * The end of a connect, decided in one place for both backends.
 *
 * A second connect(2) on a socket whose connect is in progress starts nothing; it returns the state
 * (connect(2); __inet_stream_connect() in net/ipv4/af_inet.c, the same since Linux 2.6):
 *
 *   0, EISCONN              the socket has a peer: the connect has succeeded
 *   EALREADY, EINPROGRESS   no answer yet: the event was late or meant something else
 *   ECONNABORTED            it has failed and another reader of SO_ERROR has taken the error
 *   anything else           the error; reading it resets it
 *
 * One call thus replaces SO_ERROR, getpeername(2) and a look for a hang-up.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  0 is the result only for a socket that has a peer.
 * Tests:   tests/registry/test_connect_end.c, tests/epoll/test_connect.c, tests/uring/test_ring.c
 */
#include "registry/connect_end.h"

#include <errno.h>

bool ouro__connect_has_ended(int fd, const struct sockaddr *addr, socklen_t length,
                             int32_t *out_result)
{
    int error = connect(fd, addr, length) == 0 ? 0 : errno;
    if (error == EALREADY || error == EINPROGRESS || error == EINTR)
        return false;
    *out_result = error == EISCONN ? 0 : -error;
    return true;
}
