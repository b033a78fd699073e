/* SPDX-License-Identifier: MIT */
/*
 * Flow: sends messages and checks that they come back.
 *
 * The messages of a flow are one stream of bytes, cut every `size` bytes; a read may bring a part
 * of a message or several.  When a message was sent, or was due, stands in a ring of `depth`
 * entries until its last byte has come.
 *
 * In a closed loop with small messages one task sends and receives in turn.  Two cases need a
 * second task that sends.  When more bytes are on their way than the kernel's buffers hold, the
 * server stops reading until somebody reads from it: who only sends would wait forever.  And in an
 * open loop a message is sent when it is due, whether or not another has come back.
 *
 * Owns:    the ring and the buffer; the streams are the caller's.
 * Threads: one worker; the two tasks share the flow without locks.
 */
#include "bench_flow.h"

#include <errno.h>
#include <stdlib.h>

#include "pattern.h"

/* What surely fits the kernel's buffers between two sockets. */
#define ON_THE_WAY_BYTES ((uint64_t)32 * 1024)

struct flow {
    struct bench_lane *lane;
    const struct bench_path *path;
    uint64_t size_bytes, depth;
    uint64_t sent, answered; /* messages */
    uint64_t received_bytes;
    int64_t *due_ns; /* of the unanswered: message n is at n % depth */
    char *buffer;
    size_t buffer_bytes;
    bool is_over;            /* nothing more will be sent */
    int send_rc;             /* why sending has failed */
    struct ouro_waker waker; /* of the task that waits for the number of unanswered messages */
};

static uint64_t unanswered(const struct flow *flow)
{
    return flow->sent - flow->answered;
}

/* Takes what is due and may be sent now.  Returns the number of messages. */
static uint64_t take_due(struct flow *flow)
{
    struct bench_lane *lane = flow->lane;
    const int64_t now_ns = ouro_now_ns();
    uint64_t count = 0;
    while (unanswered(flow) < flow->depth) {
        int64_t due_ns = bench_due_ns(lane, now_ns);
        if (bench_is_over(lane, due_ns, now_ns)) {
            flow->is_over = true;
            break;
        }
        if (due_ns > now_ns)
            break;
        bench_take(lane, due_ns);
        flow->due_ns[flow->sent % flow->depth] = due_ns;
        flow->sent++;
        count++;
    }
    return count;
}

/* Sends the last @count messages of those taken. */
static int send_messages(struct flow *flow, uint64_t count)
{
    uint64_t offset = (flow->sent - count) * flow->size_bytes;
    const uint64_t end = flow->sent * flow->size_bytes;
    int rc = 0;
    while (offset < end && rc == 0) {
        uint64_t left = end - offset;
        size_t size = left < PATTERN_SLICE_MAX ? (size_t)left : PATTERN_SLICE_MAX;
        rc =
            ouro_stream_write_all(flow->path->out, pattern_at(flow->path->key, offset), size, NULL);
        offset += size;
    }
    return rc;
}

/* Reads within the time limit. */
static ssize_t read_in_time(const struct flow *flow)
{
    const int64_t timeout_ns = flow->lane->bench->options->timeout_ns;
    if (timeout_ns == INT64_MAX)
        return ouro_stream_read(flow->path->in, flow->buffer, flow->buffer_bytes);
    struct ouro_deadline limit;
    int rc = ouro_deadline_begin(&limit, timeout_ns);
    if (rc < 0)
        return rc;
    ssize_t got = ouro_stream_read(flow->path->in, flow->buffer, flow->buffer_bytes);
    ouro_deadline_end(&limit);
    return got;
}

/* Receives and checks what has come.  To be called only while messages are unanswered. */
static int receive(struct flow *flow)
{
    ssize_t got = read_in_time(flow);
    if (got < 0)
        return (int)got;
    if (got == 0)
        return BENCH_EARLY_END;
    if (!pattern_matches(flow->path->key, flow->received_bytes, flow->buffer, (size_t)got))
        return BENCH_WRONG_BYTES;
    flow->received_bytes += (uint64_t)got;
    if (flow->received_bytes > flow->sent * flow->size_bytes)
        return BENCH_WRONG_BYTES;
    const int64_t now_ns = ouro_now_ns();
    while (flow->received_bytes >= (flow->answered + 1) * flow->size_bytes) {
        bench_done(flow->lane->bench, flow->due_ns[flow->answered % flow->depth], now_ns);
        flow->answered++;
    }
    return 0;
}

/* One task does both. */
static int run_alone(struct flow *flow)
{
    for (;;) {
        uint64_t count = take_due(flow);
        int rc = count > 0 ? send_messages(flow, count) : 0;
        if (rc == 0 && unanswered(flow) == 0)
            return 0; /* a closed loop takes none only at the end */
        if (rc == 0)
            rc = receive(flow);
        if (rc < 0)
            return rc;
    }
}

static void wake_other(struct flow *flow)
{
    struct ouro_waker waker = flow->waker;
    if (waker.vtable == NULL)
        return;
    flow->waker = (struct ouro_waker){0};
    ouro_waker_wake(&waker);
    ouro_waker_drop(&waker);
}

struct wait {
    struct flow *flow;
    uint64_t unanswered;
};

static enum ouro_poll poll_change(void *arg, const struct ouro_waker *waker)
{
    const struct wait *wait = arg;
    struct flow *flow = wait->flow;
    if (unanswered(flow) != wait->unanswered || flow->is_over)
        return OURO_POLL_READY;
    ouro_waker_drop(&flow->waker);
    flow->waker = ouro_waker_clone(waker);
    return OURO_POLL_PENDING;
}

/* Waits until the number of unanswered messages changes, or no more will be sent.  The sender waits
 * while it is `depth`, the receiver while it is 0, so that they never wait both. */
static int wait_for_change(struct flow *flow)
{
    struct wait wait = {.flow = flow, .unanswered = unanswered(flow)};
    return ouro_poll_fn(poll_change, &wait);
}

static int send_as_due(struct flow *flow)
{
    int rc = 0;
    while (rc == 0) {
        uint64_t count = take_due(flow);
        if (count > 0) {
            wake_other(flow);
            rc = send_messages(flow, count);
        } else if (flow->is_over) {
            break;
        } else if (unanswered(flow) == flow->depth) {
            rc = wait_for_change(flow);
        } else {
            int64_t now_ns = ouro_now_ns();
            rc = ouro_sleep(bench_due_ns(flow->lane, now_ns) - now_ns);
        }
    }
    return rc;
}

static int send_task(void *arg)
{
    struct flow *flow = arg;
    flow->send_rc = send_as_due(flow);
    flow->is_over = true;
    if (flow->send_rc < 0) /* the receiver need not wait for what was not sent */
        (void)ouro_stream_shutdown(flow->path->in, OURO_SHUTDOWN_READ);
    wake_other(flow);
    return 0;
}

static int receive_all(struct flow *flow)
{
    int rc = 0;
    while (rc == 0 && !(flow->is_over && unanswered(flow) == 0)) {
        rc = unanswered(flow) > 0 ? receive(flow) : wait_for_change(flow);
        wake_other(flow);
    }
    return rc;
}

/* A task of its own sends. */
static int run_with_sender(struct flow *flow)
{
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "sender";
    options.worker = OURO_WORKER_CURRENT;
    rc = ouro_group_spawn(&group, &options, send_task, flow);
    if (rc == 0)
        rc = receive_all(flow);
    (void)ouro_group_cancel(&group);
    (void)ouro_group_end(&group); /* the sender reports by send_rc */
    ouro_waker_drop(&flow->waker);
    /* Where both have failed, the sender was cancelled, or was first and ended the receiver. */
    return flow->send_rc < 0 && flow->send_rc != -ECANCELED ? flow->send_rc : rc;
}

int bench_flow_run(struct bench_lane *lane, const struct bench_path *path, uint64_t *out_answered)
{
    const struct bench_options *options = lane->bench->options;
    struct flow flow = {
        .lane = lane, .path = path, .size_bytes = options->size_bytes, .depth = options->depth};
    const uint64_t on_the_way = flow.depth * flow.size_bytes;
    flow.buffer_bytes = on_the_way < PATTERN_SLICE_MAX ? (size_t)on_the_way : PATTERN_SLICE_MAX;
    flow.buffer = malloc(flow.buffer_bytes);
    flow.due_ns = calloc(flow.depth, sizeof(*flow.due_ns));
    int rc = -ENOMEM;
    if (flow.buffer != NULL && flow.due_ns != NULL)
        rc = options->rate == 0 && on_the_way <= ON_THE_WAY_BYTES ? run_alone(&flow)
                                                                  : run_with_sender(&flow);
    for (uint64_t i = flow.answered; i < flow.sent; i++) /* none after a success */
        bench_lose(lane->bench, flow.due_ns[i % flow.depth]);
    free(flow.due_ns);
    free(flow.buffer);
    *out_answered = flow.answered;
    return rc;
}
