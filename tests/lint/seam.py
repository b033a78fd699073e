#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What streams, net and time ask of the kernel goes through src/base/kernel.h."""
import re

from lint import Lint, code_only, line_of

FOLDERS = ("src/stream", "src/net", "src/task", "src/time", "src/sync", "src/fs", "src/process")
CALLS = (
    "socket|socketpair|bind|listen|connect|accept|accept4|shutdown|setsockopt|getsockopt|"
    "getsockname|getpeername|send|sendto|sendmsg|sendmmsg|recv|recvfrom|recvmsg|recvmmsg|"
    "read|readv|pread|preadv|preadv2|write|writev|pwrite|pwritev|pwritev2|splice|tee|sendfile|"
    "open|openat|close|dup|dup2|dup3|fcntl|ioctl|fstat|stat|lstat|statx|pipe|pipe2|eventfd|"
    "poll|ppoll|select|pselect|epoll_wait|epoll_ctl|"
    "clock_gettime|clock_nanosleep|nanosleep|gettimeofday|time|timerfd_create|timerfd_settime|"
    "getrandom|getentropy|random|rand|arc4random|if_nametoindex|if_indextoname|syscall")


def main():
    lint = Lint("seam")
    for path in lint.files(*FOLDERS):
        code = code_only(lint.read(path))
        # Calls only: not members, not declarations (a type or '*' stands before the name).
        for match in re.finditer(rf"(?<![\w.>*])(?:{CALLS})\s*\(", code):
            before = code[:match.start()].rstrip(" ")
            if re.search(r"\w$", before) and not re.search(r"\b(return|else|do)$", before):
                continue
            name = match.group(0)[:-1].strip()
            lint.report(path, line_of(code, match.start()),
                        f"{name}: call it through src/base/kernel.h, so that a simulated kernel "
                        "can answer")
    lint.finish()


main()
