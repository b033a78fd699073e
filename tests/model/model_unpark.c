/* SPDX-License-Identifier: MIT */
/*
 * Models of unpark and inbox: an owner that sleeps, senders that put a message down and notify, a
 * signal handler that notifies, an owner that closes.
 *
 * The kernel's part is one flag: a write to the wake descriptor sets it, a wait that finds it set
 * ends and takes it.  A write may come long after the notify that made it.
 */
#include "model/explorer.h"

#include "base/compiler.h"
#include "registry/inbox.h"
#include "registry/unpark.h"

enum { SENDERS = 3, MESSAGES = 2 };

struct message {
    struct ouro__inbox_node node;
    unsigned sender;
    unsigned number;
    unsigned run;
};

static struct ouro__unpark unpark;
static struct ouro__inbox inbox;
static bool kernel_wake;
static bool asked; /* what the signal handler tells */
static struct message messages[SENDERS][MESSAGES];
static unsigned received[SENDERS];
static unsigned received_all;
static unsigned refused;
static bool ended;

static void begin(void)
{
    atomic_store(&unpark.state, OURO__UNPARK_RUNNING);
    atomic_store(&inbox.newest, NULL);
    kernel_wake = false;
    asked = false;
    received_all = 0;
    refused = 0;
    ended = false;
    for (unsigned i = 0; i < SENDERS; i++) {
        received[i] = 0;
        for (unsigned n = 0; n < MESSAGES; n++)
            messages[i][n] = (struct message){.sender = i, .number = n};
    }
}

static void run_message(struct ouro__inbox_node *node)
{
    struct message *message = OURO__CONTAINER_OF(node, struct message, node);
    model_note("receives %u of sender %u", message->number, message->sender);
    MODEL_CHECK(!ended);
    MODEL_CHECK(message->run++ == 0);
    MODEL_CHECK(message->number == received[message->sender]); /* in the order sent */
    received[message->sender]++;
    received_all++;
}

static bool is_kernel_woken(void *arg)
{
    (void)arg;
    return kernel_wake;
}

/* What ouro__driver_turn() does, without a driver. */
static void turn(void)
{
    if (ouro__inbox_drain(&inbox) > 0)
        return;
    if (!ouro__unpark_begin_sleep(&unpark))
        return;
    model_note("sleeps");
    model_wait_until(is_kernel_woken, NULL);
    kernel_wake = false;
    model_note("wakes");
    ouro__unpark_end_sleep(&unpark);
}

static void notify(void)
{
    if (!ouro__unpark_notify(&unpark))
        return;
    ouro__model_point();
    kernel_wake = true;
    model_note("makes the call");
}

static bool send(unsigned sender, unsigned number)
{
    struct message *message = &messages[sender][number];
    message->node.run = run_message;
    if (!ouro__inbox_push(&inbox, &message->node))
        return false;
    notify();
    return true;
}

static void receive_two(void)
{
    while (received_all < 2)
        turn();
}

static void receive_three(void)
{
    while (received_all < 3)
        turn();
}

static void send_two(void)
{
    MODEL_CHECK(send(0, 0));
    MODEL_CHECK(send(0, 1));
}

static void send_one(void)
{
    MODEL_CHECK(send(1, 0));
}

static void send_another(void)
{
    MODEL_CHECK(send(2, 0));
}

/* A signal handler has no message: it sets a flag and notifies, on the owner's own thread. */
static void handle_signal(void)
{
    asked = true;
    notify();
}

static void wait_for_signal_or_message(void)
{
    while (!asked && received_all < 1)
        turn();
}

/* The owner ends: what was accepted is run, what comes later is refused, nothing is in between. */
static void receive_and_close(void)
{
    while (!ouro__inbox_close(&inbox))
        turn();
    ended = true;
}

static void send_and_count(unsigned sender)
{
    if (!send(sender, 0))
        refused++;
}

static void send_or_not_1(void)
{
    send_and_count(1);
}

static void send_or_not_2(void)
{
    send_and_count(2);
}

static void each_run_or_refused(void)
{
    MODEL_CHECK(received_all + refused == 2);
}

static const struct model models[] = {
    {.name = "one sender, two messages",
     .begin = begin,
     .thread = {receive_two, send_two},
     .preemptions = MODEL_ANY},
    {.name = "two senders",
     .begin = begin,
     .thread = {receive_two, send_one, send_another},
     .preemptions = MODEL_ANY},
    {.name = "two senders, three messages",
     .begin = begin,
     .thread = {receive_three, send_two, send_one},
     .preemptions = 4},
    {.name = "a signal handler notifies",
     .begin = begin,
     .thread = {wait_for_signal_or_message, send_one},
     .handler = handle_signal,
     .preemptions = MODEL_ANY},
    {.name = "closing against senders",
     .begin = begin,
     .thread = {receive_and_close, send_or_not_1, send_or_not_2},
     .end = each_run_or_refused,
     .preemptions = MODEL_ANY},
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
