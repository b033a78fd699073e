/* SPDX-License-Identifier: MIT */
/*
 * Unix descriptors: passing them with a message, as SCM_RIGHTS.
 */
#ifndef OURO_NET_UNIX_FDS_H
#define OURO_NET_UNIX_FDS_H

#include <ouro/unix.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Beside descriptors: a time stamp, credentials, and a queue length that one kernel adds. */
enum { OURO__UNIX_OTHER_CONTROL = 128 };

/* Room for all control messages of a message. */
struct ouro__unix_control {
    _Alignas(struct cmsghdr) unsigned char bytes[CMSG_SPACE(OURO_UNIX_FDS_MAX * sizeof(int)) +
                                                 OURO__UNIX_OTHER_CONTROL];
};

/* Whether @count descriptors can be passed. */
static inline bool ouro__unix_fds_are_valid(const int *fds, size_t count)
{
    return count <= OURO_UNIX_FDS_MAX && (fds != NULL || count == 0);
}

/* Whether there is room as the caller says. */
static inline bool ouro__unix_room_is_valid(const struct ouro_unix_fds *fds)
{
    return fds != NULL && (fds->fds != NULL || fds->room == 0);
}

/* Makes @header pass the descriptors. */
void ouro__unix_pass_fds(struct msghdr *header, struct ouro__unix_control *control, const int *fds,
                         size_t count);

/* Makes @header take control messages, with as many descriptors as the caller has room for. */
void ouro__unix_expect_fds(struct msghdr *header, struct ouro__unix_control *control, size_t room);

/* Gives the caller the descriptors that have come, and closes those it has no room for.  @fds NULL:
 * all are closed. */
void ouro__unix_take_fds(struct msghdr *header, struct ouro_unix_fds *fds);

#endif
