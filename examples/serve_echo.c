/* SPDX-License-Identifier: MIT */
/*
 * Serve: a whole echo server in 20 lines.
 *
 *     serve_echo HOST:PORT
 *
 * It listens with every worker, limits connections, peers and idle time, and on SIGTERM or SIGINT
 * finishes what is in flight.  ouro/serve.h has the defaults.
 */
#include <ouro.h>

static int echo(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    char buffer[4096];
    ssize_t n = 0;
    (void)peer, (void)arg;
    while ((n = ouro_stream_read(stream, buffer, sizeof(buffer))) > 0 &&
           ouro_stream_write_all(stream, buffer, (size_t)n, NULL) == 0)
        continue;
    return n < 0 ? (int)n : 0;
}

static int serve(void *arg)
{
    struct ouro_serve_options options = {.size = sizeof(options), .addresses = arg};
    return ouro_serve(&options, echo, NULL);
}

int main(int argc, char **argv)
{
    return argc != 2 || ouro_run(serve, argv[1]) < 0;
}
