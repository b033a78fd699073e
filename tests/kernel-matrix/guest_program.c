/* SPDX-License-Identifier: MIT */
/*
 * guest_program.c - a program that ends in every way a program can, for the self test of
 * tools/kernel-matrix. Its first argument says which.
 *
 *   exit N, signal N, sleep, spin       end so, or never
 *   args ..., env NAME, uid             show what it was given
 *   bulk, forge, noeol, stray           output that is long, looks like the console's own marks,
 *                                       lacks its last newline; a child that outlives it
 *   leave, find                         a file in /tmp that the next job must not see
 *   warn, panic                         the kernel logs a warning; the kernel dies
 *   ring                                a NOP through a ring, and a byte through a socket pair
 *   disk                                a file on /mnt, written past the page cache
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { BULK_LINES = 20000, DISK_BLOCK_BYTES = 4096 };

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return 1;
    return close(fd) < 0;
}

static int one_completion(struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    int rc = io_uring_submit_and_wait(ring, 1);
    if (rc < 0)
        return rc;
    rc = io_uring_peek_cqe(ring, &cqe);
    if (rc < 0)
        return rc;
    rc = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return rc;
}

static int use_ring(void)
{
    struct io_uring ring;
    struct utsname kernel;
    int pair[2];
    char byte = 0;

    uname(&kernel);
    int rc = io_uring_queue_init(8, &ring, 0);
    if (rc < 0) {
        printf("io_uring_setup: %s\n", strerrorname_np(-rc));
        return 77;
    }
    io_uring_prep_nop(io_uring_get_sqe(&ring));
    int nop = one_completion(&ring);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || write(pair[0], "x", 1) != 1)
        return 1;
    io_uring_prep_recv(io_uring_get_sqe(&ring), pair[1], &byte, 1, 0);
    int received = one_completion(&ring);
    printf("{\"release\": \"%s\", \"features\": %u, \"nop\": %d, \"recv\": %d}\n", kernel.release,
           ring.features, nop, received);
    io_uring_queue_exit(&ring);
    return nop != 0 || received != 1 || byte != 'x';
}

static int use_disk(void)
{
    void *block = NULL;
    int fd = open("/mnt/file", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0 || posix_memalign(&block, DISK_BLOCK_BYTES, DISK_BLOCK_BYTES) != 0)
        return 1;
    memset(block, 'o', DISK_BLOCK_BYTES);
    ssize_t written = pwrite(fd, block, DISK_BLOCK_BYTES, 0);
    free(block);
    return written != DISK_BLOCK_BYTES;
}

static int show(const char *what, int argc, char **argv)
{
    struct rlimit memlock;

    if (strcmp(what, "args") == 0) {
        for (int i = 2; i < argc; i++)
            printf("[%s]", argv[i]);
        putchar('\n');
    } else if (strcmp(what, "env") == 0) {
        const char *value = getenv(argv[2]);
        puts(value != NULL ? value : "unset");
    } else if (strcmp(what, "uid") == 0) {
        getrlimit(RLIMIT_MEMLOCK, &memlock);
        printf("%u %llu\n", getuid(), (unsigned long long)memlock.rlim_cur);
    } else if (strcmp(what, "bulk") == 0) {
        for (int i = 0; i < BULK_LINES; i++)
            printf("%06d the quick brown fox\n", i);
    } else if (strcmp(what, "forge") == 0) {
        puts("@ouro 0 job 0 exit=0 ms=1");
        fputs("two streams\n", stderr);
        return 3;
    } else if (strcmp(what, "noeol") == 0) {
        fputs("no newline", stdout);
    } else {
        return 99;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "ring";

    if (strcmp(what, "exit") == 0)
        return (int)strtol(argv[2], NULL, 10);
    if (strcmp(what, "signal") == 0)
        return raise((int)strtol(argv[2], NULL, 10));
    if (strcmp(what, "sleep") == 0)
        return pause();
    if (strcmp(what, "spin") == 0)
        for (;;)
            ;
    if (strcmp(what, "stray") == 0) {
        if (fork() == 0)
            pause();
        puts("left one");
        return 0;
    }
    if (strcmp(what, "leave") == 0)
        return write_file("/tmp/left", "left");
    if (strcmp(what, "find") == 0)
        return access("/tmp/left", F_OK) == 0;
    if (strcmp(what, "warn") == 0)
        return write_file("/dev/kmsg", "<4>self test warning\n");
    if (strcmp(what, "panic") == 0)
        return write_file("/proc/sysrq-trigger", "c");
    if (strcmp(what, "ring") == 0)
        return use_ring();
    if (strcmp(what, "disk") == 0)
        return use_disk();
    return show(what, argc, argv);
}
