/* SPDX-License-Identifier: MIT */
/*
 * Unix path: binding a socket to a name, also where a dead process has left its file.
 *
 * A file of a socket remains when its process dies.  bind(2) then says EADDRINUSE as if the socket
 * were in use.  Whether it is in use is asked by the connect of a datagram socket, which disturbs
 * nobody: ECONNREFUSED says that no socket has the name, and whatever else it says, one has.
 *
 * Of two processes that find a dead socket's file, the slower could remove the file that the faster
 * has just made.  So looking, removing and binding are done under a lock (flock(2)) of the
 * directory.  The lock ends with its descriptor, so a process that dies leaves none.  It is not
 * waited for in the kernel, since a worker must not stop: the caller sleeps and tries again.  Where
 * the directory cannot be opened for reading, or locked, it is done without.
 *
 * At the end the file is removed while the socket is still open: as long as it is, nobody replaces
 * the file.  It may have been removed by hand, and the name may be another's: so the file is
 * compared with the one that bind made, whose inode number is not given again while the socket is
 * open.
 *
 * The mode is set on the socket before bind, which makes the file with it less the umask, and on
 * the file afterwards.  So the file never has more permissions than asked for.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  a live socket's file is never removed, if all who replace files there do it this way.
 * Tests:   tests/net/test_unix_bind.c
 */
#include "net/unix_path.h"

#include "base/kernel.h"
#include "net/datagram.h"
#include "net/socket.h"
#include "net/socket_addr.h"

#include <ouro/time.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#define LOCK_PAUSE_NS OURO__NS_PER_MS

enum { LOCK_TRIES = 1000 };

/* A terminated path; empty for an abstract name. */
struct path_text {
    char text[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
};

static struct path_text text_of(const struct ouro_socket_addr *addr)
{
    const size_t at = offsetof(struct sockaddr_un, sun_path);
    struct path_text path = {{0}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(&un, addr->storage, addr->length < sizeof(un) ? addr->length : sizeof(un));
    if (addr->length > at)
        memcpy(path.text, un.sun_path, addr->length - at);
    return path;
}

int ouro__unix_check_bind(const struct ouro_socket_addr *addr,
                          const struct ouro_unix_bind_options *options)
{
    if (options == NULL || (options->flags & ~OURO_UNIX_F_KEEP_STALE) != 0 ||
        options->mode > 0777 || options->send_buffer_bytes < 0 || options->receive_buffer_bytes < 0)
        return -EINVAL;
    if (addr == NULL)
        return 0;
    if (!ouro__socket_addr_is_valid(addr))
        return -EINVAL;
    return ouro_socket_addr_family(addr) == AF_UNIX ? 0 : -EAFNOSUPPORT;
}

static int open_directory_of(struct path_text path)
{
    char *slash = strrchr(path.text, '/');
    if (slash == NULL)
        return ouro__kernel_open_directory(".");
    slash[slash == path.text ? 1 : 0] = '\0'; /* "/x" is in "/" */
    return ouro__kernel_open_directory(path.text);
}

/* The lock of the path's directory; *out_lock is -1 where there is none to be had. */
static int lock_directory(const struct path_text *path, int *out_lock)
{
    int fd = open_directory_of(*path);
    *out_lock = -1;
    if (fd < 0)
        return 0;
    int rc = ouro__kernel_try_lock(fd);
    for (int i = 0; rc == -EAGAIN; i++) {
        rc = i < LOCK_TRIES ? ouro_sleep(LOCK_PAUSE_NS) : -EADDRINUSE;
        if (rc < 0) {
            ouro__kernel_close(fd);
            return rc;
        }
        rc = ouro__kernel_try_lock(fd);
    }
    if (rc == 0)
        *out_lock = fd;
    else
        ouro__kernel_close(fd);
    return 0;
}

/* Whether the file is a socket's that nobody has open. */
static bool is_stale(const struct ouro_socket_addr *addr, const struct path_text *path)
{
    mode_t mode = 0;
    dev_t device = 0;
    ino_t inode = 0;
    int fd = -1;
    if (ouro__kernel_path_identity(path->text, &mode, &device, &inode) < 0 || !S_ISSOCK(mode))
        return false;
    if (ouro__datagram_open(AF_UNIX, SOCK_DGRAM, &fd) < 0)
        return false;
    int rc = ouro__kernel_connect(fd, ouro_socket_addr_sockaddr(addr), addr->length);
    ouro__kernel_close(fd);
    return rc == -ECONNREFUSED;
}

static int bind_name(int fd, const struct ouro_socket_addr *addr)
{
    return ouro__kernel_bind(fd, ouro_socket_addr_sockaddr(addr), addr->length);
}

/* The name is taken: takes it over from a dead process. */
static int replace(int fd, const struct ouro_socket_addr *addr, const struct path_text *path)
{
    int lock = -1;
    int rc = lock_directory(path, &lock);
    if (rc < 0)
        return rc;
    rc = is_stale(addr, path) ? ouro__kernel_unlink(path->text) : -EADDRINUSE;
    if (rc == 0)
        rc = bind_name(fd, addr);
    if (lock >= 0)
        ouro__kernel_close(lock);
    return rc;
}

/* After the bind: from now on there is a file to be removed. */
static int settle_file(const struct ouro_unix_bind_options *options, const struct path_text *text,
                       struct ouro__unix_path *path)
{
    mode_t mode = 0;
    int rc = ouro__kernel_path_identity(text->text, &mode, &path->device, &path->inode);
    path->is_file = rc == 0;
    if (rc == 0 && options->mode != 0)
        rc = ouro__kernel_set_path_mode(text->text, (mode_t)options->mode);
    return rc;
}

static int bind_to_path(int fd, const struct ouro_unix_bind_options *options,
                        const struct path_text *text, struct ouro__unix_path *path)
{
    int rc = options->mode == 0 ? 0 : ouro__kernel_set_mode(fd, (mode_t)options->mode);
    if (rc == 0)
        rc = bind_name(fd, &path->addr);
    if (rc == -EADDRINUSE && (options->flags & OURO_UNIX_F_KEEP_STALE) == 0)
        rc = replace(fd, &path->addr, text);
    return rc == 0 ? settle_file(options, text, path) : rc;
}

static int set_buffers(int fd, const struct ouro_unix_bind_options *options)
{
    int rc = 0;
    if (options->send_buffer_bytes > 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes);
    if (rc == 0 && options->receive_buffer_bytes > 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes);
    return rc;
}

static int bind_socket(int fd, const struct ouro_unix_bind_options *options,
                       struct ouro__unix_path *path)
{
    struct path_text text = text_of(&path->addr);
    int rc = set_buffers(fd, options);
    if (rc == 0)
        rc = text.text[0] != '\0' ? bind_to_path(fd, options, &text, path)
                                  : bind_name(fd, &path->addr);
    if (rc < 0)
        ouro__unix_path_remove(path);
    return rc;
}

int ouro__unix_bind(const struct ouro_socket_addr *addr, int type,
                    const struct ouro_unix_bind_options *options, struct ouro__unix_path *path,
                    int *out_fd)
{
    const sa_family_t family = AF_UNIX;
    int fd = -1;
    *path = (struct ouro__unix_path){.is_file = false};
    if (addr != NULL) {
        path->addr = *addr;
    } else { /* nothing but the family: the kernel chooses a name */
        path->addr.length = sizeof(family);
        memcpy(path->addr.storage, &family, sizeof(family));
    }
    int rc = ouro__datagram_open(AF_UNIX, type, &fd);
    if (rc < 0)
        return rc;
    rc = bind_socket(fd, options, path);
    if (rc < 0)
        ouro__kernel_close(fd);
    else
        *out_fd = fd;
    return rc;
}

void ouro__unix_path_remove(const struct ouro__unix_path *path)
{
    struct path_text text = text_of(&path->addr);
    mode_t mode = 0;
    dev_t device = 0;
    ino_t inode = 0;
    if (!path->is_file || ouro__kernel_path_identity(text.text, &mode, &device, &inode) < 0)
        return;
    if (device == path->device && inode == path->inode)
        (void)ouro__kernel_unlink(text.text);
}
