/* SPDX-License-Identifier: MIT */
/*
 * The order in which addresses are tried, and which error is reported: tables.
 *
 * A list is written as a text: '4' an IPv4, '6' an IPv6, 'u' a Unix address; the result shows the
 * place each came from.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <string.h>

#include "net/address_order.h"
#include "ouro/addr.h"

static size_t make_list(const char *families, struct ouro_socket_addr *list)
{
    size_t count = strlen(families);
    for (size_t i = 0; i < count; i++) {
        const char *text = families[i] == '4'   ? "192.0.2.1:0"
                           : families[i] == '6' ? "[2001:db8::1]:0"
                                                : "unix:/s";
        ck_assert_int_eq(ouro_socket_addr_parse(text, &list[i]), 0);
    }
    return count;
}

/* The walk over @families as places, "0213". */
static const char *walk(const char *families, bool is_plain)
{
    static char places[16];
    struct ouro_socket_addr list[10];
    struct ouro__address_order order;
    size_t made = 0;

    size_t count = make_list(families, list);
    ouro__address_order_init(&order, list, count, is_plain);
    const struct ouro_socket_addr *addr = NULL;
    while ((addr = ouro__address_order_next(&order)) != NULL)
        places[made++] = (char)('0' + (addr - list));
    ck_assert_ptr_null(ouro__address_order_next(&order));
    ck_assert_uint_eq(made, count);
    places[made] = '\0';
    return places;
}

OURO_TEST_UNIT(families_alternate)
{
    static const struct {
        const char *families;
        const char *places;
    } rows[] = {
        {"", ""},
        {"4", "0"},
        {"6", "0"},
        {"46", "01"},
        {"64", "01"},
        {"6644", "0213"},
        {"4466", "0213"},
        {"4646", "0123"},
        {"666", "012"},
        {"6666644", "0516234"},
        {"4666666", "0123456"},
        {"6444446", "0162345"},
        {"u46u", "0132"},
        {"4u6", "012"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(strcmp(walk(rows[i].families, false), rows[i].places) == 0,
                      "%s: %s, expected %s", rows[i].families, walk(rows[i].families, false),
                      rows[i].places);
}

OURO_TEST_UNIT(plain_walk_keeps_the_order)
{
    ck_assert_str_eq(walk("664464", true), "012345");
    ck_assert_str_eq(walk("", true), "");
}

OURO_TEST_UNIT(every_address_comes_once)
{
    /* All lists of up to ten addresses of two families. */
    for (unsigned length = 1; length <= 10; length++) {
        for (unsigned bits = 0; bits < 1u << length; bits++) {
            char families[11] = {0};
            unsigned seen = 0;
            for (unsigned i = 0; i < length; i++)
                families[i] = (bits >> i & 1) != 0 ? '6' : '4';
            for (const char *place = walk(families, false); *place != '\0'; place++)
                seen |= 1u << (*place - '0');
            ck_assert_uint_eq(seen, (1u << length) - 1);
        }
    }
}

OURO_TEST_UNIT(closest_error_wins)
{
    /* From the closest to the farthest; errors of one row are of one rank. */
    static const int ranks[][8] = {
        {-ECONNREFUSED, -ECONNRESET, -ECONNABORTED, -EAGAIN},
        {-ETIMEDOUT},
        {-ENETUNREACH, -EHOSTUNREACH, -ENETDOWN, -EHOSTDOWN},
        {-EACCES, -EPERM},
        {-EADDRNOTAVAIL, -EADDRINUSE, -ENOENT, -EMFILE, -ENOMEM, -EINVAL},
        {-EAFNOSUPPORT, -EPROTONOSUPPORT, -EPROTOTYPE},
        {0, -ECANCELED},
    };
    const size_t rows = sizeof(ranks) / sizeof(ranks[0]);
    for (size_t row = 0; row + 1 < rows; row++) {
        for (size_t i = 0; i < 8 && ranks[row][i] != 0; i++) {
            int near = ranks[row][i];
            ck_assert_int_eq(ouro__address_error_closest(0, near), near);
            for (size_t lower = row + 1; lower < rows; lower++) {
                for (size_t j = 0; j < 8 && ranks[lower][j] != 0; j++) {
                    ck_assert_int_eq(ouro__address_error_closest(near, ranks[lower][j]), near);
                    ck_assert_int_eq(ouro__address_error_closest(ranks[lower][j], near), near);
                }
            }
        }
    }
}

OURO_TEST_UNIT(of_equal_errors_the_first_stays)
{
    ck_assert_int_eq(ouro__address_error_closest(-ECONNRESET, -ECONNREFUSED), -ECONNRESET);
    ck_assert_int_eq(ouro__address_error_closest(-EHOSTUNREACH, -ENETUNREACH), -EHOSTUNREACH);
    ck_assert_int_eq(ouro__address_error_closest(0, -ECANCELED), 0);
}
