/* SPDX-License-Identifier: MIT */
/*
 * The seam to the kernel: all system calls that streams, net and time make outside of a driver's
 * operations.
 *
 * src/stream, src/net and src/task call the kernel through these functions only (a lint test,
 * tests/lint/seam.py, checks that), so that a simulated kernel can answer in its place.  On the
 * real backends each of them compiles to the system call.  They return 0, a descriptor or a count,
 * or -errno; outputs are as the system call leaves them.
 *
 * The library needs no random numbers; a call that gets some would be added here.
 */
#ifndef OURO_BASE_KERNEL_H
#define OURO_BASE_KERNEL_H

#include "base/compiler.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18 */
#endif

static inline int64_t ouro__kernel_read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + (int64_t)now.tv_nsec;
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline int64_t ouro__kernel_clock_ns(void)
{
    return ouro__kernel_read_clock(CLOCK_MONOTONIC);
}

/* The same as of the last timer tick, up to 10 ms ago.  Reading it costs a quarter. */
static inline int64_t ouro__kernel_coarse_clock_ns(void)
{
    return ouro__kernel_read_clock(CLOCK_MONOTONIC_COARSE);
}

/* A socket, close-on-exec and non-blocking. */
static inline int ouro__kernel_socket(int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    return fd < 0 ? -errno : fd;
}

/* Two sockets that are connected with each other, close-on-exec and non-blocking. */
static inline int ouro__kernel_socket_pair(int family, int type, int out_fds[2])
{
    return socketpair(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out_fds) == 0 ? 0 : -errno;
}

/* A pipe, both ends close-on-exec and non-blocking. */
static inline int ouro__kernel_pipe(int out_fds[2])
{
    return pipe2(out_fds, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}

static inline int ouro__kernel_bind(int fd, const struct sockaddr *addr, uint32_t length)
{
    return bind(fd, addr, (socklen_t)length) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_listen(int fd, int backlog)
{
    return listen(fd, backlog) == 0 ? 0 : -errno;
}

/* The next connection, close-on-exec and non-blocking; -EAGAIN when there is none.  @fd is
 * non-blocking. */
static inline int ouro__kernel_accept(int fd)
{
    int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return connection < 0 ? -errno : connection;
}

/* A file that is good for nothing but to be closed: it takes a descriptor and an open file. */
static inline int ouro__kernel_placeholder(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* connect(2) for sockets on which it never waits: Unix ones that are non-blocking. */
static inline int ouro__kernel_connect(int fd, const struct sockaddr *addr, uint32_t length)
{
    return connect(fd, addr, (socklen_t)length) == 0 ? 0 : -errno;
}

/* One message, without waiting, and without SIGPIPE: what was sent, -EAGAIN without room. */
static inline ssize_t ouro__kernel_send_message(int fd, const struct msghdr *message)
{
    ssize_t n = 0;
    do {
        n = sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* One message, without waiting: its length, -EAGAIN when none is there.  Descriptors that come with
 * it are close-on-exec. */
static inline ssize_t ouro__kernel_receive_message(int fd, struct msghdr *message, int flags)
{
    ssize_t n = 0;
    do {
        n = recvmsg(fd, message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Several messages: how many, at least one, or why not the first. */
static inline int ouro__kernel_send_messages(int fd, struct mmsghdr *messages, unsigned count)
{
    int n = 0;
    do {
        n = sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline int ouro__kernel_receive_messages(int fd, struct mmsghdr *messages, unsigned count,
                                                int flags)
{
    int n = 0;
    do {
        n = recvmmsg(fd, messages, count, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline int ouro__kernel_shutdown(int fd, int how)
{
    return shutdown(fd, how) == 0 ? 0 : -errno;
}

/* The descriptor is gone whatever this would return, so it returns nothing. */
static inline void ouro__kernel_close(int fd)
{
    (void)close(fd);
}

static inline int ouro__kernel_set_option(int fd, int level, int name, const void *value,
                                          size_t size)
{
    return setsockopt(fd, level, name, value, (socklen_t)size) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_get_option(int fd, int level, int name, void *out_value, size_t size)
{
    socklen_t length = (socklen_t)size;
    return getsockopt(fd, level, name, out_value, &length) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_local_name(int fd, struct sockaddr *out_name, socklen_t *length)
{
    return getsockname(fd, out_name, length) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_peer_name(int fd, struct sockaddr *out_name, socklen_t *length)
{
    return getpeername(fd, out_name, length) == 0 ? 0 : -errno;
}

/* How many bytes can be read from a socket or pipe now. */
static inline int ouro__kernel_unread(int fd)
{
    int count = 0;
    return ioctl(fd, FIONREAD, &count) == 0 ? count : -errno;
}

/* How many bytes were written to a socket and have not left it; a Unix socket: are not read. */
static inline int ouro__kernel_unsent(int fd)
{
    int count = 0;
    return ioctl(fd, SIOCOUTQ, &count) == 0 ? count : -errno;
}

/* The O_ flags of an open file. */
static inline int ouro__kernel_get_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : flags;
}

static inline int ouro__kernel_set_flags(int fd, int flags)
{
    return fcntl(fd, F_SETFL, flags) == 0 ? 0 : -errno;
}

/* What kind of file it is, and how long: st_mode and st_size of fstat(2). */
static inline int ouro__kernel_file_size(int fd, mode_t *out_mode, int64_t *out_size)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    *out_mode = status.st_mode;
    *out_size = (int64_t)status.st_size;
    return 0;
}

/* What kind of file it is: st_mode of fstat(2). */
static inline int ouro__kernel_file_mode(int fd, mode_t *out_mode)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    *out_mode = status.st_mode;
    return 0;
}

/* What a name of the file system names now: its st_mode, and which file it is. */
static inline int ouro__kernel_path_identity(const char *path, mode_t *out_mode, dev_t *out_device,
                                             ino_t *out_inode)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return -errno;
    *out_mode = status.st_mode;
    *out_device = status.st_dev;
    *out_inode = status.st_ino;
    return 0;
}

static inline int ouro__kernel_unlink(const char *path)
{
    return unlink(path) == 0 ? 0 : -errno;
}

/* Permissions of a file that is open, and by name. */
static inline int ouro__kernel_set_mode(int fd, mode_t mode)
{
    return fchmod(fd, mode) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_set_path_mode(const char *path, mode_t mode)
{
    return chmod(path, mode) == 0 ? 0 : -errno;
}

static inline int ouro__kernel_open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The start of a small file, such as those of /proc/sys: its length, and a zero byte behind it. */
static inline ssize_t ouro__kernel_read_small_file(const char *path, char *out_text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t length = read(fd, out_text, size - 1);
    int error = errno;
    (void)close(fd);
    if (length < 0)
        return -error;
    out_text[length] = '\0';
    return length;
}

/* A lock that ends with the open file; -EAGAIN when another has it. */
static inline int ouro__kernel_try_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

static inline ssize_t ouro__kernel_readv(int fd, const struct iovec *vectors, int count)
{
    ssize_t n = readv(fd, vectors, count);
    return n < 0 ? -errno : n;
}

static inline ssize_t ouro__kernel_writev(int fd, const struct iovec *vectors, int count)
{
    ssize_t n = writev(fd, vectors, count);
    return n < 0 ? -errno : n;
}

/* As writev, and raises no SIGPIPE; -EOPNOTSUPP before Linux 6.18. */
static inline ssize_t ouro__kernel_writev_nosignal(int fd, const struct iovec *vectors, int count)
{
    ssize_t n = pwritev2(fd, vectors, count, -1, RWF_NOSIGNAL);
    return n < 0 ? -errno : n;
}

/* Moves bytes between a pipe and another descriptor, without waiting for either. */
static inline ssize_t ouro__kernel_splice(int from, int to, size_t size)
{
    ssize_t n = splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK);
    return n < 0 ? -errno : n;
}

/* Sends from a file's @offset, to a pipe or to a socket; does not wait for these. */
static inline ssize_t ouro__kernel_send_file(int to, bool to_pipe, int from, int64_t offset,
                                             size_t size)
{
    off_t at = (off_t)offset;
    ssize_t n = to_pipe ? splice(from, &at, to, NULL, size, SPLICE_F_NONBLOCK)
                        : sendfile(to, from, &at, size);
    return n < 0 ? -errno : n;
}

/* Whether the descriptor has one of poll(2)'s @events, an error or a hang-up: 1, or 0. */
static inline int ouro__kernel_look(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int count = poll(&poll_fd, 1, 0);
    return count < 0 ? -errno : count;
}

/* The index of the interface @name, at least 1; -ENODEV when there is none. */
static inline int64_t ouro__kernel_interface_index(const char *name)
{
    unsigned index = if_nametoindex(name);
    return index == 0 ? -errno : (int64_t)index;
}

#endif
