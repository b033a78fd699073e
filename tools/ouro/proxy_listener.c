/* SPDX-License-Identifier: MIT */
/*
 * ProxyListener: sockets that listen.
 *
 * The library's listeners are TCP only and keep their descriptors to themselves.  The proxy listens
 * on Unix addresses, too, and hands its listeners over to its successor, so it makes the sockets
 * itself and waits for them with PollEvented.
 *
 * Several sockets share a TCP address by SO_REUSEPORT.  The option is set on the first after
 * listen(2): until then bind(2) and listen(2) refuse an address that somebody else has, and a
 * second proxy cannot take a part of the connections by mistake.
 *
 * TCP_NODELAY and SO_KEEPALIVE are set on the listening sockets, from which the accepted ones get
 * them without a system call.
 *
 * A Unix socket leaves its file behind when its process is killed.  bind(2) refuses such a path, so
 * a connect finds out whether somebody listens on it; if nobody does, the file is removed.  Nothing
 * but a socket is ever removed.
 *
 * Owns:    the descriptors, and the files of Unix addresses.
 * Threads: one at a time.
 */
#include "proxy_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel takes its own limit, net.core.somaxconn, if that is less */

static int set_option(int fd, int level, int name)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int bind_and_listen(int fd, const struct ouro_socket_addr *addr)
{
    if (bind(fd, ouro_socket_addr_sockaddr(addr), addr->length) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

static int bound_addr(int fd, struct ouro_socket_addr *out_addr)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0)
        return -errno;
    return ouro_socket_addr_from_sockaddr((struct sockaddr *)&storage, length, out_addr);
}

/* One socket; @is_first: the address must be free, and can be shared afterwards. */
static int open_tcp(const struct ouro_socket_addr *addr, bool is_first, bool keepalive)
{
    int fd = open_socket(ouro_socket_addr_family(addr));
    if (fd < 0)
        return fd;
    int rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (rc == 0)
        rc = set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    if (rc == 0 && keepalive)
        rc = set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    if (rc == 0 && !is_first)
        rc = set_option(fd, SOL_SOCKET, SO_REUSEPORT);
    if (rc == 0)
        rc = bind_and_listen(fd, addr);
    if (rc == 0 && is_first)
        rc = set_option(fd, SOL_SOCKET, SO_REUSEPORT);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int open_tcp_sockets(const struct ouro_socket_addr *addr, size_t sockets, bool keepalive,
                            struct proxy_listener *listener)
{
    listener->addr = *addr;
    int rc = 0;
    while (rc == 0 && listener->count < sockets) {
        int fd = open_tcp(&listener->addr, listener->count == 0, keepalive);
        if (fd < 0) {
            rc = fd;
            break;
        }
        listener->fds[listener->count++] = fd;
        if (listener->count == 1)
            rc = bound_addr(fd, &listener->addr); /* port 0 is settled */
    }
    if (rc < 0)
        proxy_listener_close(listener, true);
    return rc;
}

/* The first address of the name, or the literal, that all sockets can be bound to. */
static int open_tcp_listener(const char *text, size_t sockets, bool keepalive,
                             struct proxy_listener *listener)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    int rc = ouro_resolve(OURO_ADDRS(text), &list, &count);
    if (rc < 0)
        return rc;
    rc = -OURO_ENOADDRESS;
    for (size_t i = 0; i < count && rc < 0; i++)
        rc = open_tcp_sockets(&list[i], sockets, keepalive, listener);
    ouro_addr_list_free(list);
    return rc;
}

/* The file of a Unix address; NULL for one in the abstract name space. */
static const char *path_of(const struct ouro_socket_addr *addr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)addr->storage;
    bool has_path = ouro_socket_addr_family(addr) == AF_UNIX && un->sun_path[0] != '\0';
    return has_path ? un->sun_path : NULL;
}

/* Removes the file of a socket that nobody listens on. */
static bool remove_stale(const struct ouro_socket_addr *addr)
{
    struct stat status;
    const char *path = path_of(addr);
    if (path == NULL || lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return false;
    bool is_stale =
        connect(fd, ouro_socket_addr_sockaddr(addr), addr->length) < 0 && errno == ECONNREFUSED;
    close(fd);
    return is_stale && unlink(path) == 0;
}

static int open_unix_listener(const char *text, size_t sockets, struct proxy_listener *listener)
{
    int rc = ouro_socket_addr_parse(text, &listener->addr);
    if (rc < 0)
        return rc;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    rc = bind_and_listen(fd, &listener->addr);
    if (rc == -EADDRINUSE && remove_stale(&listener->addr))
        rc = bind_and_listen(fd, &listener->addr);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    listener->fds[listener->count++] = fd;
    while (rc == 0 && listener->count < sockets) {
        int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (again < 0)
            rc = -errno;
        else
            listener->fds[listener->count++] = again;
    }
    if (rc < 0)
        proxy_listener_close(listener, false);
    return rc;
}

int proxy_listener_open(const char *text, size_t sockets, bool keepalive,
                        struct proxy_listener *out_listener)
{
    *out_listener = (struct proxy_listener){.text = text};
    if (strncmp(text, "unix:", 5) == 0)
        return open_unix_listener(text, sockets, out_listener);
    return open_tcp_listener(text, sockets, keepalive, out_listener);
}

int proxy_listener_bound(const struct proxy_listener *listener, struct ouro_socket_addr *out_addr)
{
    return bound_addr(listener->fds[0], out_addr);
}

int proxy_listener_adopt(const char *text, bool keepalive, struct proxy_listener *listener)
{
    listener->text = text;
    int rc = listener->count > 0 ? bound_addr(listener->fds[0], &listener->addr) : -EINVAL;
    bool is_unix = ouro_socket_addr_family(&listener->addr) == AF_UNIX;
    for (size_t i = 0; i < listener->count && rc == 0; i++) {
        int listens = 0;
        socklen_t size = sizeof(listens);
        int fd = listener->fds[i];
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
            rc = -EINVAL;
        if (rc == 0 && keepalive && !is_unix)
            rc = set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    }
    return rc;
}

void proxy_listener_close_socket(struct proxy_listener *listener, size_t index, bool keep_path)
{
    const char *path = path_of(&listener->addr);
    if (listener->fds[index] < 0)
        return;
    if (index == 0 && path != NULL && !keep_path)
        (void)unlink(path);
    close(listener->fds[index]);
    listener->fds[index] = -1;
}

void proxy_listener_close(struct proxy_listener *listener, bool keep_path)
{
    for (size_t i = 0; i < listener->count; i++)
        proxy_listener_close_socket(listener, i, keep_path);
    listener->count = 0;
}
