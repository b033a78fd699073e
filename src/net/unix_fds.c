/* SPDX-License-Identifier: MIT */
/*
 * Unix descriptors: passing them with a message, as SCM_RIGHTS.
 *
 * The kernel makes as many descriptors as the control buffer has room for, closes the others and
 * sets MSG_CTRUNC.  Room for a control message that did not come is room for more descriptors, and
 * so is the padding of an odd number.  So more may come than the caller can take.  Each is looked
 * at, and what the caller cannot take is closed here.
 *
 * Owns:    received descriptors, until the caller has them.
 * Threads: any.
 * Always:  a descriptor that has come is the caller's or closed.
 * Tests:   tests/net/test_unix_fds.c
 */
#include "net/unix_fds.h"

#include "base/kernel.h"

#include <string.h>

void ouro__unix_pass_fds(struct msghdr *header, struct ouro__unix_control *control, const int *fds,
                         size_t count)
{
    if (count == 0)
        return;
    header->msg_control = control->bytes;
    header->msg_controllen = CMSG_SPACE(count * sizeof(int));
    memset(control->bytes, 0, header->msg_controllen); /* the padding too */
    struct cmsghdr *at = CMSG_FIRSTHDR(header);
    at->cmsg_level = SOL_SOCKET;
    at->cmsg_type = SCM_RIGHTS;
    at->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(at), fds, count * sizeof(int));
}

void ouro__unix_expect_fds(struct msghdr *header, struct ouro__unix_control *control, size_t room)
{
    if (room > OURO_UNIX_FDS_MAX)
        room = OURO_UNIX_FDS_MAX;
    header->msg_control = control->bytes;
    header->msg_controllen = CMSG_SPACE(room * sizeof(int)) + OURO__UNIX_OTHER_CONTROL;
}

static void take_one(struct ouro_unix_fds *fds, int fd)
{
    if (fds != NULL && fds->count < fds->room) {
        fds->fds[fds->count++] = fd;
        return;
    }
    ouro__kernel_close(fd);
    if (fds != NULL)
        fds->flags |= OURO_UNIX_FDS_F_TRUNCATED;
}

void ouro__unix_take_fds(struct msghdr *header, struct ouro_unix_fds *fds)
{
    if (fds != NULL) {
        fds->count = 0;
        fds->flags = (header->msg_flags & MSG_CTRUNC) != 0 ? OURO_UNIX_FDS_F_TRUNCATED : 0;
    }
    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at != NULL; at = CMSG_NXTHDR(header, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(at) + i * sizeof(int), sizeof(fd));
            take_one(fds, fd);
        }
    }
}
