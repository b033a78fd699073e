/* SPDX-License-Identifier: MIT */
/*
 * A Waker of one's own: ouro watches descriptors for a program that has an event loop already.
 *
 *     own_waker COMMAND...           runs the commands at once, and prints their lines as they come
 *
 * The loop of this program is poll(2), and it knows one descriptor of ouro's: an eventfd.  A Waker
 * that writes to the eventfd is handed to ouro_poll_evented_poll_ready(); whatever becomes ready,
 * and on whichever thread of ouro's, the loop wakes and finds out what it was.  Any loop that can
 * wait for a descriptor can be connected to ouro like this.
 */
#include <errno.h>
#include <fcntl.h>
#include <ouro.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One command, and its output. */
struct source {
    FILE *pipe;
    int fd;
    struct ouro_poll_evented *io;
    struct ouro_ready_event event; /* the readiness that the last look saw */
    bool has_event;
    _Atomic bool is_woken;
};

static int wake_event = -1; /* what the loop waits for */

/* The three functions of the Waker.  Its data is the source, which lives longer than any clone, so
 * nothing has to be counted. */
static void *waker_clone(void *data)
{
    return data;
}

static void waker_wake(void *data)
{
    struct source *source = data;
    atomic_store(&source->is_woken, true);
    eventfd_write(wake_event, 1);
}

static void waker_drop(void *data)
{
    (void)data;
}

static const struct ouro_waker_vtable waker_vtable = {waker_clone, waker_wake, waker_drop};

/* Prints what has come, until there is no more for now.  1: goes on; 0: ended; negative: a code. */
static int advance(struct source *source)
{
    const struct ouro_waker waker = {&waker_vtable, source};
    char buffer[4096];
    for (;;) {
        ssize_t n = read(source->fd, buffer, sizeof(buffer));
        if (n > 0) {
            fwrite(buffer, 1, (size_t)n, stdout);
            fflush(stdout);
            continue;
        }
        if (n == 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        if (source->has_event) /* it has been used up; newer readiness stays */
            ouro_poll_evented_clear(source->io, &source->event);
        int rc = ouro_poll_evented_poll_ready(source->io, OURO_READABLE, &waker, &source->event);
        source->has_event = rc == OURO_POLL_READY;
        if (rc == OURO_POLL_PENDING)
            return 1; /* the Waker will be woken */
        if (rc < 0)
            return rc;
    }
}

static int start(struct source *source, const char *command)
{
    source->pipe = popen(command, "re");
    if (source->pipe == NULL)
        return errno != 0 ? -errno : -ENOMEM;
    source->fd = fileno(source->pipe);
    if (fcntl(source->fd, F_SETFL, fcntl(source->fd, F_GETFL) | O_NONBLOCK) < 0)
        return -errno;
    int rc = ouro_poll_evented_new(source->fd, OURO_READABLE, &source->io);
    atomic_store(&source->is_woken, true); /* the first look is due */
    return rc;
}

static void stop(struct source *source)
{
    ouro_poll_evented_free(source->io);
    source->io = NULL;
    if (source->pipe != NULL)
        pclose(source->pipe);
    source->pipe = NULL;
}

/* The program's own event loop. */
static int loop(struct source *sources, int count)
{
    int running = count;
    while (running > 0) {
        for (int i = 0; i < count; i++) {
            if (!atomic_exchange(&sources[i].is_woken, false) || sources[i].io == NULL)
                continue;
            int rc = advance(&sources[i]);
            if (rc < 0)
                return rc;
            if (rc == 0) {
                stop(&sources[i]);
                running--;
            }
        }
        struct pollfd events[] = {
            {.fd = wake_event, .events = POLLIN}}; /* and all others of yours */
        eventfd_t wakes = 0;
        if (running > 0 && poll(events, 1, -1) > 0)
            eventfd_read(wake_event, &wakes);
    }
    return 0;
}

static int run(struct ouro_runtime *runtime, struct source *sources, char **commands, int count)
{
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    int rc = ouro_enter(handle); /* this thread may make ouro's calls now */
    if (rc == 0) {
        for (int i = 0; i < count && rc == 0; i++)
            rc = start(&sources[i], commands[i]);
        if (rc == 0)
            rc = loop(sources, count);
        for (int i = 0; i < count; i++)
            stop(&sources[i]);
        ouro_leave();
    }
    ouro_handle_unref(handle);
    return rc;
}

int main(int argc, char **argv)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    int count = argc - 1;
    struct source *sources = calloc((size_t)count + 1, sizeof(*sources));
    config.flavour = OURO_FLAVOUR_MULTI_THREAD; /* its threads watch while the loop runs */
    config.workers = 1;
    wake_event = eventfd(0, EFD_CLOEXEC);
    int rc = sources == NULL || wake_event < 0 ? -errno : ouro_runtime_new(&config, &runtime);
    if (rc == 0)
        rc = run(runtime, sources, argv + 1, count);
    ouro_runtime_free(runtime); /* a thread of the runtime may be inside waker_wake() until here */
    close(wake_event);
    free(sources);
    if (rc < 0)
        fprintf(stderr, "own_waker: %s\n", ouro_strerror(rc));
    return rc < 0;
}
