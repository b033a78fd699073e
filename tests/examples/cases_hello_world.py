# SPDX-License-Identifier: MIT
"""hello_world has its address in the source, so only a missing listener can be shown here; the test
of the README runs it against one."""
import socket


def test_without_a_listener_it_says_why(example):
    with socket.socket() as holder:  # bound and not listening: nobody else can listen there
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 6142))
        except OSError:
            return  # somebody listens on it: the other outcome is as good as this one
        done = example.run()
    assert done.returncode == 1, done
    assert done.stderr == "hello: connection refused\n", done
