/* SPDX-License-Identifier: MIT */
/*
 * A tally of errors by name.
 */
#ifndef OURO_CLI_TALLY_H
#define OURO_CLI_TALLY_H

#include <jansson.h>
#include <stdint.h>

#define TALLY_KINDS_MAX 32

/* All zero is an empty one. */
struct tally {
    uint64_t total;
    struct {
        const char *name; /* constant text */
        const char *text;
        uint64_t count;
    } kinds[TALLY_KINDS_MAX]; /* the last stands for all further kinds */
};

/* Counts an error of that name; @text explains it to people.  Both are kept, not copied. */
void tally_add(struct tally *tally, const char *name, const char *text);

/* An object of counts by name.  NULL without memory. */
json_t *tally_json(const struct tally *tally);

/* One line on stdout for each kind. */
void tally_print(const struct tally *tally);

#endif
