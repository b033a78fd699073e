/* SPDX-License-Identifier: MIT */
/*
 * The first program: connect, write, close.  README shows it.  It wants a listener on
 * 127.0.0.1:6142, `ouro serve echo` for instance.
 */
#include <ouro.h>
#include <stdio.h>

static int hello(void *arg)
{
    struct ouro_stream *stream;
    int rc = ouro_connect("127.0.0.1:6142", 5 * OURO_SECOND, &stream);
    (void)arg;
    if (rc < 0)
        return rc;
    puts("created stream");
    rc = ouro_stream_write_all(stream, "hello world\n", 12, NULL);
    ouro_stream_close(stream);
    return rc;
}

int main(void)
{
    int rc = ouro_run(hello, NULL);
    if (rc < 0)
        fprintf(stderr, "hello: %s\n", ouro_strerror(rc));
    return rc < 0;
}
