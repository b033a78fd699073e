/* SPDX-License-Identifier: MIT */
/*
 * refuse ERRNO COMMAND...: runs a command from which a seccomp filter keeps io_uring, as containers
 * do; each of its system calls returns the error of that number.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  the filter holds for the command and all it starts.
 */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: refuse ERRNO COMMAND...\n");
        return 2;
    }
    uint32_t action = SCMP_ACT_ERRNO((uint16_t)strtoul(argv[1], NULL, 10));
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL || seccomp_rule_add(filter, action, SCMP_SYS(io_uring_setup), 0) < 0 ||
        seccomp_rule_add(filter, action, SCMP_SYS(io_uring_enter), 0) < 0 ||
        seccomp_rule_add(filter, action, SCMP_SYS(io_uring_register), 0) < 0 ||
        seccomp_load(filter) < 0) {
        fprintf(stderr, "refuse: no filter could be installed\n");
        return 2;
    }
    seccomp_release(filter);
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 2;
}
