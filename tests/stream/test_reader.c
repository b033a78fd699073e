/* SPDX-License-Identifier: MIT */
/*
 * Buffered reading: exact reads and delimiters across the borders of buffers and arrivals, the end
 * in the middle, maximums, and that a reader that waits holds no buffer.
 */
#include "stream/loans.h"

#include <pthread.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "ouro/reader.h"
#include "support/sockets.h"

static void expect_line(struct ouro_reader *reader, const char *delimiter, const char *line)
{
    const void *data = NULL;
    ssize_t n = ouro_reader_read_until(reader, delimiter, strlen(delimiter), 1 << 20, &data);
    ck_assert_msg(n == (ssize_t)strlen(line), "read_until: %zd, expected \"%s\"", n, line);
    ck_assert_int_eq(memcmp(data, line, (size_t)n), 0);
}

static void expect_exact(struct ouro_reader *reader, const char *text)
{
    char bytes[256];
    size_t count = 99;
    ck_assert_int_eq(ouro_reader_read_exact(reader, bytes, strlen(text), &count), 0);
    ck_assert_uint_eq(count, strlen(text));
    ck_assert_int_eq(memcmp(bytes, text, count), 0);
}

/* What is left, without waiting. */
static void expect_left(struct ouro_reader *reader, const char *text)
{
    const void *data = NULL;
    ck_assert_uint_eq(ouro_reader_buffered(reader), strlen(text));
    ck_assert_int_eq(ouro_reader_peek(reader, strlen(text), &data), (ssize_t)strlen(text));
    if (*text != '\0')
        ck_assert_int_eq(memcmp(data, text, strlen(text)), 0);
}

static int read_lines(void *arg)
{
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct ouro_reader reader;
        const void *data = NULL;
        char byte = 0;
        ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
        put_text(pair.peer, "one\r\ntwo\r\n\r\n\rnot\nyet\r\n12345rest");
        expect_line(&reader, "\r\n", "one\r\n");
        expect_line(&reader, "\r\n", "two\r\n");
        expect_line(&reader, "\r\n", "\r\n");
        expect_line(&reader, "\r\n", "\rnot\nyet\r\n");
        expect_exact(&reader, "12345");
        expect_left(&reader, "rest");
        ck_assert_int_eq(ouro_reader_consume(&reader, 5), -EINVAL);
        ck_assert_int_eq(ouro_reader_consume(&reader, 1), 0);
        ck_assert_int_eq(ouro_reader_consume(&reader, 0), 0);
        ck_assert_int_eq(ouro_reader_read(&reader, &byte, 1), 1);
        ck_assert_int_eq(byte, 's' - 's' + 'e');
        (void)close(pair.peer);
        ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 100, &data), -OURO_ESTREAMEND);
        expect_left(&reader, "st");
        expect_exact(&reader, "st");
        for (int round = 0; round < 2; round++) {
            ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 100, &data), 0);
            ck_assert_int_eq(ouro_reader_peek(&reader, 1, &data), 0);
            ck_assert_int_eq(ouro_reader_read(&reader, &byte, 1), 0);
        }
        ouro_reader_fini(&reader);
        ouro_reader_fini(&reader);
        ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
    }
    return 0;
}

OURO_TEST(lines_and_exact_reads_follow_each_other)
{
    struct ouro_runtime_config small = pool_of(1, 64);
    everywhere_with_pool(NULL, read_lines, NULL);
    everywhere_with_pool(&small, read_lines, NULL);
}

/* One byte at a time: each is its own arrival. */
static int read_bytewise(void *arg)
{
    static const char text[] = "a\r\r\nbb\r\n\r\n--x---x--end";
    struct pair pair = open_kind(OURO_STREAM_TCP);
    struct ouro_reader reader;
    const void *data = NULL;
    size_t lines = 0;
    (void)arg;
    static const char *const expected[] = {"a\r\r\n", "bb\r\n", "\r\n"};
    ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
    for (size_t i = 0; text[i] != '\0'; i++) {
        ck_assert_int_eq(write(pair.peer, &text[i], 1), 1);
        OURO_DEADLINE(soon, OURO_MILLISECOND / 5); /* what has come is kept */
        const char *delimiter = lines < 3 ? "\r\n" : "--end";
        ssize_t n = ouro_reader_read_until(&reader, delimiter, strlen(delimiter), 100, &data);
        if (n == -ETIMEDOUT)
            continue;
        ck_assert_int_gt(n, 0);
        const char *line = lines < 3 ? expected[lines] : "--x---x--end";
        ck_assert_uint_eq((size_t)n, strlen(line));
        ck_assert_int_eq(memcmp(data, line, (size_t)n), 0);
        lines++;
    }
    while (lines < 4) { /* the last byte may have come after the deadline */
        expect_line(&reader, lines < 3 ? "\r\n" : "--end",
                    lines < 3 ? expected[lines] : "--x---x--end");
        lines++;
    }
    ouro_reader_fini(&reader);
    disconnect(&pair);
    return 0;
}

OURO_TEST(bytes_that_come_one_by_one_make_lines)
{
    in_place_with_pool(IN_TASK, NULL, read_bytewise, NULL);
    in_place_with_pool(IN_THREAD, NULL, read_bytewise, NULL);
}

/* Messages of every length around the size of a buffer, in one stream, against a plain parser. */
enum { MESSAGES = 400, BUFFER = 64 };

static size_t length_of(unsigned message)
{
    return message * 7 % (3 * BUFFER) + (message % 5 == 0 ? 0 : 1);
}

static char letter_of(unsigned message, size_t i)
{
    return (char)('a' + (message * 5 + i) % 26);
}

static void *send_messages(void *arg)
{
    const struct pair *pair = arg;
    char message[4 * BUFFER];
    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t length = length_of(i);
        for (size_t j = 0; j < length; j++)
            message[j] = letter_of(i, j);
        memcpy(message + length, "=|=", 3);
        put_bytes(pair->peer, message, length + 3);
    }
    return NULL;
}

static void take_message(struct ouro_reader *reader, unsigned message)
{
    size_t length = length_of(message);
    const char *data = NULL;
    char copy[4 * BUFFER];
    const void *seen = NULL;
    size_t count = 0;
    if (message % 3 == 0) {
        ck_assert_int_eq(ouro_reader_read_exact(reader, copy, length + 3, &count), 0);
        data = copy;
    } else if (message % 3 == 1) {
        ssize_t n = ouro_reader_peek(reader, length + 3, &seen);
        ck_assert_int_ge(n, (ssize_t)length + 3);
        memcpy(copy, seen, length + 3);
        data = copy;
        ck_assert_int_eq(ouro_reader_consume(reader, length + 3), 0);
    } else {
        ssize_t n = ouro_reader_read_until(reader, "=|=", 3, 4 * BUFFER, &seen);
        ck_assert_int_eq(n, (ssize_t)length + 3);
        data = seen;
    }
    for (size_t i = 0; i < length; i++)
        ck_assert_int_eq(data[i], letter_of(message, i));
    ck_assert_int_eq(memcmp(data + length, "=|=", 3), 0);
}

static int read_messages(void *arg)
{
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct ouro_reader reader;
        pthread_t sender;
        ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
        ck_assert_int_eq(pthread_create(&sender, NULL, send_messages, &pair), 0);
        for (unsigned message = 0; message < MESSAGES; message++)
            take_message(&reader, message);
        ck_assert_uint_eq(ouro_reader_buffered(&reader), 0);
        ck_assert_int_eq(pthread_join(sender, NULL), 0);
        ouro_reader_fini(&reader);
        disconnect(&pair);
    }
    return 0;
}

OURO_TEST(messages_cross_the_borders_of_buffers)
{
    static const uint32_t sizes[] = {BUFFER, BUFFER + 1, 4096};
    for (unsigned i = 0; i < 3; i++) {
        struct ouro_runtime_config config = pool_of(2, sizes[i]);
        in_place_with_pool(IN_TASK, &config, read_messages, NULL);
        in_place_with_pool(IN_DRIVER_THREAD, &config, read_messages, NULL);
    }
}

static int meet_limits(void *arg)
{
    struct pair pair = open_kind(OURO_STREAM_UNIX);
    struct ouro_reader reader;
    const void *data = NULL;
    char bytes[300];
    char long_text[201] = "";
    (void)arg;
    memset(long_text, 'x', 200);
    ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
    put_text(pair.peer, "0123456789\n");
    /* The delimiter is the last of the maximum, or the first beyond it. */
    ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 10, &data), -EMSGSIZE);
    ck_assert_int_eq(ouro_reader_read_until(&reader, "9\n", 2, 10, &data), -EMSGSIZE);
    ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 11, &data), 11);
    /* It is not waited for what cannot fit. */
    put_text(pair.peer, "abcd");
    ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 4, &data), -EMSGSIZE);
    expect_left(&reader, "abcd");
    /* Longer than a buffer. */
    put_text(pair.peer, long_text);
    ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 150, &data), -EMSGSIZE);
    ck_assert_uint_ge(ouro_reader_buffered(&reader), 150);
    expect_exact(&reader, "abcd");
    put_text(pair.peer, "\n");
    ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 201, &data), 201);
    ck_assert_int_eq(memcmp(data, long_text, 200), 0);
    /* The end in the middle of each call. */
    put_text(pair.peer, long_text);
    (void)close(pair.peer);
    ck_assert_int_eq(ouro_reader_peek(&reader, 201, &data), -OURO_ESTREAMEND);
    ck_assert_uint_eq(ouro_reader_buffered(&reader), 200);
    ck_assert_int_eq(ouro_reader_read_until(&reader, "\n", 1, 1000, &data), -OURO_ESTREAMEND);
    ck_assert_int_ge(ouro_reader_peek(&reader, 0, &data), 1);
    size_t count = 0;
    ck_assert_int_eq(ouro_reader_read_exact(&reader, bytes, 201, &count), -OURO_ESTREAMEND);
    ck_assert_uint_eq(count, 200);
    ck_assert_int_eq(memcmp(bytes, long_text, 200), 0);
    ck_assert_int_eq(ouro_reader_read_exact(&reader, bytes, 1, &count), -OURO_ESTREAMEND);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(ouro_reader_peek(&reader, 0, &data), 0);
    ouro_reader_fini(&reader);
    ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
    return 0;
}

OURO_TEST(a_maximum_and_the_end_in_the_middle_lose_nothing)
{
    struct ouro_runtime_config config = pool_of(2, BUFFER);
    everywhere_with_pool(&config, meet_limits, NULL);
}

/* Large reads go past the buffers, and take what is buffered first. */
static void *send_large(void *arg)
{
    const struct pair *pair = arg;
    char block[1000];
    for (int i = 0; i < 100; i++) {
        memset(block, 'A' + i % 26, sizeof(block));
        put_bytes(pair->peer, block, sizeof(block));
    }
    return NULL;
}

static int read_large(void *arg)
{
    static char bytes[100000];
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct ouro_reader reader;
        pthread_t sender;
        size_t count = 0;
        ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
        ck_assert_int_eq(pthread_create(&sender, NULL, send_large, &pair), 0);
        ck_assert_int_eq(ouro_reader_read(&reader, bytes, 1), 1);
        ck_assert_int_eq(ouro_reader_read_exact(&reader, bytes + 1, sizeof(bytes) - 1, &count), 0);
        ck_assert_uint_eq(count, sizeof(bytes) - 1);
        for (size_t at = 0; at < sizeof(bytes); at++)
            ck_assert_int_eq(bytes[at], (char)('A' + at / 1000 % 26));
        ck_assert_int_eq(pthread_join(sender, NULL), 0);
        ouro_reader_fini(&reader);
        disconnect(&pair);
    }
    return 0;
}

OURO_TEST(a_large_read_is_exact)
{
    in_place_with_pool(IN_TASK, NULL, read_large, NULL);
    in_place_with_pool(IN_THREAD, NULL, read_large, NULL);
}

/* With half a line each, more readers than buffers wait without holding one. */
static int read_one_line(void *arg)
{
    struct ouro_reader reader;
    ck_assert_int_eq(ouro_reader_init(&reader, arg), 0);
    expect_line(&reader, "\n", "first half, second half\n");
    ouro_reader_fini(&reader);
    return 0;
}

static int wait_with_halves(void *arg)
{
    enum { READERS = 9 };
    struct pair pairs[READERS];
    struct ouro_task *tasks[READERS];
    (void)arg;
    for (int i = 0; i < READERS; i++) {
        pairs[i] = open_kind(kinds[i % KINDS]);
        put_text(pairs[i].peer, "first half,");
        ck_assert_int_eq(ouro_task_spawn(read_one_line, pairs[i].stream, &tasks[i]), 0);
    }
    for (int i = 0; i < READERS; i++) {
        int left = 1;
        while (left > 0) { /* the reader has taken its first half, and waits for more */
            left = 0;
            ck_assert_int_eq(ioctl(ouro_stream_fd(pairs[i].stream), FIONREAD, &left), 0);
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 10), 0);
        }
    }
    for (int i = READERS; i-- > 0;) {
        int result = -1;
        put_text(pairs[i].peer, " second half\n");
        ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
        ck_assert_int_eq(result, 0);
        disconnect(&pairs[i]);
    }
    return 0;
}

OURO_TEST(readers_that_wait_hold_no_buffer)
{
    struct ouro_runtime_config config = pool_of(1, BUFFER);
    in_place_with_pool(IN_TASK, &config, wait_with_halves, NULL);
    in_place_with_pool(IN_WORKER_TASK, &config, wait_with_halves, NULL);
}

static int lack_memory(void *arg)
{
    struct pair pair = open_kind(OURO_STREAM_UNIX);
    struct ouro_reader reader;
    const void *data = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
    for (int round = 0; round < 4; round++) {
        ssize_t n = -ENOMEM;
        put_text(pair.peer, "in two ");
        ck_assert_int_eq(ouro_reader_peek(&reader, 7, &data), 7);
        put_text(pair.peer, "pieces\n");
        for (uint64_t nth = 1; n == -ENOMEM; nth++) {
            ck_assert_uint_lt(nth, 100);
            ouro__alloc_fail_at(nth);
            n = round % 2 == 0 ? ouro_reader_read_until(&reader, "\n", 1, 100, &data)
                               : ouro_reader_peek(&reader, 14, &data);
            ouro__alloc_fail_at(0);
        }
        ck_assert_int_eq(n, 14);
        ck_assert_int_eq(memcmp(data, "in two pieces\n", 14), 0);
        if (round % 2 != 0)
            ck_assert_int_eq(ouro_reader_consume(&reader, 14), 0);
    }
    ouro_reader_fini(&reader);
    disconnect(&pair);
    return 0;
}

OURO_TEST(without_memory_nothing_is_lost)
{
    in_place_with_pool(IN_TASK, NULL, lack_memory, NULL);
}

static int close_before_fini(void *arg)
{
    struct pair pair = open_kind(OURO_STREAM_UNIX);
    struct ouro_reader reader;
    (void)arg;
    ck_assert_int_eq(ouro_reader_init(&reader, pair.stream), 0);
    put_text(pair.peer, "line\nrest");
    expect_line(&reader, "\n", "line\n");
    ck_assert_int_eq(ouro_stream_close(pair.stream), -OURO_ELOANED);
    expect_left(&reader, "rest");
    ouro_reader_fini(&reader);
    (void)close(pair.peer);
    return 0;
}

OURO_TEST(a_close_before_the_reader_s_end_says_so)
{
    everywhere_with_pool(NULL, close_before_fini, NULL);
}
