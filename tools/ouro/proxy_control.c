/* SPDX-License-Identifier: MIT */
/*
 * ProxyControl: a restart without a lost connection.
 *
 * The new process connects to the control socket of the old one and gets its listening sockets as
 * descriptors (SCM_RIGHTS).  From then on both have the same sockets.  The backlogs belong to the
 * sockets, so a connection that arrives meanwhile is taken by one of the two.
 *
 *   new  "ouro-proxy 1 takeover"
 *   old  "listener NUMBER TEXT" with descriptors, for each listener once or more
 *   old  "end"
 *   new  listens on a control socket of its own, which replaces the old one's file; accepts
 *   new  "ready"
 *   old  drains: it closes its descriptors, and its connections go on to their ends
 *
 * Until "ready" the old process goes on as if nothing was; a new one that fails changes nothing.
 * The messages are packets (SOCK_SEQPACKET), so they have bounds and descriptors of their own.
 *
 * Descriptors are given to processes of the same user and of root only.  The file is made for its
 * owner only, and the kernel is asked who is at the other end.
 *
 * Owns:    the control socket and its file; the connection between the two processes.
 * Threads: tasks of one worker.
 */
#include "proxy_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TAKEOVER "ouro-proxy 1 takeover"
#define LISTENER "listener "
#define END "end"
#define READY "ready"

#define TEXT_BYTES 512
#define FDS_MAX 64 /* in one packet; the kernel's limit is 253 */
#define NEW_SUFFIX ".new"

/* How long either process waits for the other's next packet. */
#define PATIENCE_NS (30 * OURO_SECOND)

struct packet {
    char text[TEXT_BYTES];
    size_t fd_count;
    int fds[FDS_MAX];
};

/* The control data of a packet, aligned as the kernel wants it. */
union control_data {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

static ssize_t send_packet(int fd, void *arg)
{
    struct packet *packet = arg;
    union control_data control = {0};
    struct iovec text = {.iov_base = packet->text, .iov_len = strlen(packet->text)};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    if (packet->fd_count > 0) {
        size_t size = packet->fd_count * sizeof(int);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), packet->fds, size);
    }
    ssize_t put = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return put < 0 ? -errno : put;
}

static void close_fds(struct packet *packet)
{
    while (packet->fd_count > 0)
        close(packet->fds[--packet->fd_count]);
}

/* The descriptors of a packet belong to the receiver from then on. */
static ssize_t receive_packet(int fd, void *arg)
{
    struct packet *packet = arg;
    union control_data control;
    struct iovec text = {.iov_base = packet->text, .iov_len = sizeof(packet->text) - 1};
    struct msghdr message = {.msg_iov = &text,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0)
        return -errno;
    packet->text[got] = '\0';
    packet->fd_count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        packet->fd_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(packet->fds, CMSG_DATA(header), packet->fd_count * sizeof(int));
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
        return got;
    close_fds(packet);
    return -EMSGSIZE;
}

/* Sends or receives a packet within the patience; the end of the other process is -EPIPE. */
static int exchange(struct proxy_peer *peer, uint32_t interest, ouro_io_function *function,
                    struct packet *packet)
{
    struct ouro_deadline scope;
    int rc = ouro_deadline_begin(&scope, PATIENCE_NS);
    if (rc < 0)
        return rc;
    ssize_t moved = ouro_poll_evented_io(peer->io, interest, function, packet);
    ouro_deadline_end(&scope);
    return moved > 0 ? 0 : moved == 0 ? -EPIPE : (int)moved;
}

static int send_text(struct proxy_peer *peer, const char *text)
{
    struct packet packet = {.fd_count = 0};
    snprintf(packet.text, sizeof(packet.text), "%s", text);
    return exchange(peer, OURO_WRITABLE, send_packet, &packet);
}

static int receive(struct proxy_peer *peer, struct packet *packet)
{
    return exchange(peer, OURO_READABLE, receive_packet, packet);
}

/* Receives a packet that must be @text. */
static int expect_text(struct proxy_peer *peer, const char *text)
{
    struct packet packet;
    int rc = receive(peer, &packet);
    if (rc < 0)
        return rc;
    close_fds(&packet);
    return strcmp(packet.text, text) == 0 ? 0 : -EPROTO;
}

static int make_addr(const char *path, const char *suffix, struct sockaddr_un *out_addr)
{
    *out_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(out_addr->sun_path, sizeof(out_addr->sun_path), "%s%s", path, suffix);
    return length > 0 && (size_t)length < sizeof(out_addr->sun_path) ? 0 : -ENAMETOOLONG;
}

int proxy_control_check(const char *path)
{
    struct sockaddr_un addr;
    return *path != '\0' ? make_addr(path, NEW_SUFFIX, &addr) : -ENAMETOOLONG;
}

static int open_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

void proxy_peer_close(struct proxy_peer *peer)
{
    ouro_poll_evented_free(peer->io);
    if (peer->fd >= 0)
        close(peer->fd);
    *peer = (struct proxy_peer){.fd = -1};
}

/* Takes the descriptors of a packet into the listener with its number: the last one, or the next.
 */
static int take_listener(struct proxy_listeners *listeners, struct packet *packet)
{
    int text_at = 0;
    unsigned number = 0;
    if (sscanf(packet->text, LISTENER "%u %n", &number, &text_at) != 1 || text_at == 0 ||
        number > listeners->count || number >= PROXY_LISTENERS_MAX)
        return -EPROTO;
    struct proxy_listener *listener = &listeners->list[number];
    if (number == listeners->count) {
        *listener = (struct proxy_listener){.text = strdup(packet->text + text_at)};
        if (listener->text == NULL)
            return -ENOMEM;
        listeners->count++;
    }
    if (packet->fd_count > PROXY_SOCKETS_MAX - listener->count)
        return -EPROTO;
    memcpy(&listener->fds[listener->count], packet->fds, packet->fd_count * sizeof(int));
    listener->count += packet->fd_count;
    packet->fd_count = 0;
    return 0;
}

static int take_all(struct proxy_peer *peer, struct proxy_listeners *listeners)
{
    int rc = send_text(peer, TAKEOVER);
    while (rc == 0) {
        struct packet packet;
        rc = receive(peer, &packet);
        if (rc < 0)
            break;
        bool is_end = strcmp(packet.text, END) == 0;
        if (!is_end)
            rc = take_listener(listeners, &packet);
        close_fds(&packet);
        if (is_end)
            break;
    }
    return rc;
}

int proxy_control_take(const char *path, struct proxy_peer *out_peer,
                       struct proxy_listeners *out_listeners)
{
    struct sockaddr_un addr;
    *out_peer = (struct proxy_peer){.fd = open_socket()};
    int rc = out_peer->fd < 0 ? out_peer->fd : make_addr(path, "", &addr);
    if (rc == 0 && connect(out_peer->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        rc = -errno;
    if (rc == 0)
        rc = ouro_poll_evented_new(out_peer->fd, OURO_READABLE | OURO_WRITABLE, &out_peer->io);
    if (rc == 0)
        rc = take_all(out_peer, out_listeners);
    if (rc < 0)
        proxy_peer_close(out_peer);
    return rc;
}

int proxy_control_ready(struct proxy_peer *peer)
{
    int rc = send_text(peer, READY);
    proxy_peer_close(peer);
    return rc;
}

/* Whether there is something else than a socket at the path. */
static bool is_other_file(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode);
}

/* The file is made under another name, so that there is always one of the name. */
static int bind_file(int fd, const char *path)
{
    struct sockaddr_un new_addr;
    int rc = make_addr(path, NEW_SUFFIX, &new_addr);
    if (rc == 0 && (is_other_file(path) || is_other_file(new_addr.sun_path)))
        rc = -EEXIST;
    if (rc < 0)
        return rc;
    (void)unlink(new_addr.sun_path); /* of one that was killed at this place */
    mode_t mask = umask(0177);
    rc = bind(fd, (struct sockaddr *)&new_addr, sizeof(new_addr)) < 0 ? -errno : 0;
    (void)umask(mask);
    if (rc == 0 && (listen(fd, 8) < 0 || rename(new_addr.sun_path, path) < 0)) {
        rc = -errno;
        (void)unlink(new_addr.sun_path);
    }
    return rc;
}

int proxy_control_open(const char *path, struct proxy_control *out_control)
{
    *out_control = (struct proxy_control){.path = path, .fd = open_socket()};
    if (out_control->fd < 0)
        return out_control->fd;
    int rc = bind_file(out_control->fd, path);
    if (rc == 0)
        rc = ouro_poll_evented_new(out_control->fd, OURO_READABLE, &out_control->io);
    if (rc < 0) {
        close(out_control->fd);
        out_control->fd = -1;
    }
    return rc;
}

void proxy_control_hide(struct proxy_control *control)
{
    if (control->path != NULL)
        (void)unlink(control->path);
    control->path = NULL;
}

void proxy_control_close(struct proxy_control *control)
{
    if (control->fd < 0)
        return;
    proxy_control_hide(control);
    ouro_poll_evented_free(control->io);
    close(control->fd);
    *control = (struct proxy_control){.fd = -1};
}

static ssize_t accept_peer(int fd, void *arg)
{
    (void)arg;
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return peer < 0 ? -errno : peer;
}

/* Whether the process at the other end may have our descriptors. */
static bool is_trusted(int fd)
{
    struct ucred who;
    socklen_t size = sizeof(who);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static int send_listener(struct proxy_peer *peer, size_t number,
                         const struct proxy_listener *listener)
{
    int rc = 0;
    for (size_t at = 0; at < listener->count && rc == 0; at += FDS_MAX) {
        struct packet packet;
        size_t left = listener->count - at;
        packet.fd_count = left < FDS_MAX ? left : FDS_MAX;
        memcpy(packet.fds, &listener->fds[at], packet.fd_count * sizeof(int));
        snprintf(packet.text, sizeof(packet.text), LISTENER "%zu %s", number, listener->text);
        rc = exchange(peer, OURO_WRITABLE, send_packet, &packet);
    }
    return rc;
}

static int give_all(struct proxy_peer *peer, const struct proxy_listeners *listeners)
{
    if (!is_trusted(peer->fd))
        return -EPERM;
    int rc = ouro_poll_evented_new(peer->fd, OURO_READABLE | OURO_WRITABLE, &peer->io);
    if (rc == 0)
        rc = expect_text(peer, TAKEOVER);
    for (size_t i = 0; i < listeners->count && rc == 0; i++)
        rc = send_listener(peer, i, &listeners->list[i]);
    if (rc == 0)
        rc = send_text(peer, END);
    if (rc == 0)
        rc = expect_text(peer, READY);
    return rc;
}

int proxy_control_give(struct proxy_control *control, const struct proxy_listeners *listeners)
{
    ssize_t fd = ouro_poll_evented_io(control->io, OURO_READABLE, accept_peer, NULL);
    if (fd < 0)
        return (int)fd;
    struct proxy_peer peer = {.fd = (int)fd};
    int rc = give_all(&peer, listeners);
    proxy_peer_close(&peer);
    if (rc == 0)
        control->path = NULL; /* the file is the new one's */
    return rc;
}
