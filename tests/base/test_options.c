/* SPDX-License-Identifier: MIT */
/*
 * The one rule for option structs of other sizes.
 */
#include "support/ouro_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/options.h"

struct options {
    size_t size;
    uint32_t first;
    uint32_t second;
    int64_t third;
};

static const struct options our_defaults = {sizeof(struct options), 11, 12, 13};

/* A caller's struct of exactly @size bytes, so that a checker sees a read past its end. */
static char *theirs(size_t size, const void *from, size_t from_size)
{
    char *bytes = calloc(1, size);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, from, from_size < size ? from_size : size);
    memcpy(bytes, &size, size < sizeof(size) ? size : sizeof(size));
    return bytes;
}

OURO_TEST_UNIT(none_means_the_defaults)
{
    struct options defaults = our_defaults;
    ck_assert_ptr_eq(ouro__options_read(NULL, &defaults, sizeof(defaults)), &defaults);
    ck_assert_mem_eq(&defaults, &our_defaults, sizeof(defaults));
}

OURO_TEST_UNIT(our_own_size_is_read_in_place)
{
    struct options defaults = our_defaults;
    const struct options given = {sizeof(given), 1, 2, 3};
    ck_assert_ptr_eq(ouro__options_read(&given, &defaults, sizeof(given)), &given);
}

OURO_TEST_UNIT(a_smaller_one_has_defaults_for_what_it_lacks)
{
    const struct options given = {0, 1, 2, 3};
    for (size_t size = sizeof(size_t); size < sizeof(given); size += sizeof(size_t)) {
        struct options defaults = our_defaults;
        char *bytes = theirs(size, &given, sizeof(given));
        const struct options *read = ouro__options_read(bytes, &defaults, sizeof(defaults));
        ck_assert_ptr_eq(read, &defaults);
        ck_assert_uint_eq(read->size, sizeof(given));
        ck_assert_uint_eq(read->first, size > 8 ? 1 : 11);
        ck_assert_uint_eq(read->second, size > 8 ? 2 : 12);
        ck_assert_int_eq(read->third, 13);
        free(bytes);
    }
}

OURO_TEST_UNIT(a_larger_one_must_be_zero_past_our_end)
{
    const struct options given = {0, 1, 2, 3};
    for (size_t size = sizeof(given) + 8; size <= 4096; size += 8) {
        struct options defaults = our_defaults;
        char *bytes = theirs(size, &given, sizeof(given));
        const struct options *read = ouro__options_read(bytes, &defaults, sizeof(defaults));
        ck_assert_ptr_nonnull(read);
        ck_assert_uint_eq(read->size, sizeof(given));
        ck_assert_uint_eq(read->second, 2);
        ck_assert_int_eq(read->third, 3);
        bytes[size - 1] = 1;
        ck_assert_ptr_null(ouro__options_read(bytes, &defaults, sizeof(defaults)));
        bytes[size - 1] = 0;
        bytes[sizeof(given)] = 1;
        ck_assert_ptr_null(ouro__options_read(bytes, &defaults, sizeof(defaults)));
        free(bytes);
    }
}

OURO_TEST_UNIT(a_size_that_no_compiler_makes_is_refused)
{
    const size_t sizes[] = {0, 1, 7, 9, 12, 23, 25, 4104, SIZE_MAX, SIZE_MAX - 7};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct options defaults = our_defaults;
        ck_assert_ptr_null(ouro__options_read(&sizes[i], &defaults, sizeof(defaults)));
    }
}
