/* SPDX-License-Identifier: MIT */
/*
 * Messages that can be told apart to the last byte.  A message names its connection, how often this
 * connection was made again, and its number; all of its bytes follow from these.
 */
#ifndef OURO_TEST_MESSAGES_H
#define OURO_TEST_MESSAGES_H

#include "volume.h"

enum { MESSAGE_HEAD = 16, MESSAGE_BODY_MAX = 20000 };

struct message_head {
    uint32_t connection;
    uint32_t again;
    uint32_t number;
    uint32_t size; /* of the body */
};

_Static_assert(sizeof(struct message_head) == MESSAGE_HEAD, "without padding");

static inline uint8_t message_byte(const struct message_head *head, uint32_t at)
{
    uint64_t seed = (uint64_t)head->connection << 40 ^ (uint64_t)head->again << 20 ^ head->number;
    return (uint8_t)(dice_mix(seed * 2477 + at / 8 + 1) >> (at % 8 * 8));
}

/* Most are small; a few are larger than what one read or write takes. */
static inline uint32_t message_size(uint32_t connection, uint32_t number)
{
    uint64_t mixed = dice_mix((uint64_t)connection << 32 | number);
    return (uint32_t)(mixed % 100 == 0 ? mixed % MESSAGE_BODY_MAX : mixed / 128 % 200);
}

/* Writes a message; returns its size. */
static inline size_t message_make(uint8_t *out, struct message_head head)
{
    head.size = message_size(head.connection, head.number);
    memcpy(out, &head, sizeof(head));
    for (uint32_t i = 0; i < head.size; i++)
        out[MESSAGE_HEAD + i] = message_byte(&head, i);
    return MESSAGE_HEAD + head.size;
}

/* Follows the bytes of a connection and fails the case at the first one that is wrong. */
struct follower {
    bool is_known; /* the next three say what must come; else the first message tells */
    uint32_t connection;
    uint32_t again;
    uint32_t number;
    struct message_head head;
    size_t at; /* in the message */
};

static inline void follow_head(struct follower *follower, uint32_t connections)
{
    const struct message_head *head = &follower->head;
    if (!follower->is_known) {
        follower->is_known = true;
        follower->connection = head->connection;
        follower->again = head->again;
        follower->number = head->number;
    }
    ck_assert_uint_lt(head->connection, connections);
    ck_assert_uint_eq(head->connection, follower->connection);
    ck_assert_uint_eq(head->again, follower->again);
    ck_assert_uint_eq(head->number, follower->number);
    ck_assert_uint_eq(head->size, message_size(head->connection, head->number));
}

/* Returns how many messages have become complete. */
static inline unsigned follow(struct follower *follower, const void *bytes, size_t size,
                              uint32_t connections)
{
    const uint8_t *data = bytes;
    unsigned complete = 0;
    for (size_t i = 0; i < size; i++) {
        if (follower->at < MESSAGE_HEAD) {
            ((uint8_t *)&follower->head)[follower->at++] = data[i];
            if (follower->at == MESSAGE_HEAD)
                follow_head(follower, connections);
        } else {
            uint32_t at = (uint32_t)(follower->at++ - MESSAGE_HEAD);
            if (data[i] != message_byte(&follower->head, at))
                ck_abort_msg("connection %u, message %u, byte %u is wrong", follower->connection,
                             follower->number, at);
        }
        if (follower->at >= MESSAGE_HEAD && follower->at == MESSAGE_HEAD + follower->head.size) {
            follower->at = 0;
            follower->number++;
            complete++;
        }
    }
    return complete;
}

#endif
