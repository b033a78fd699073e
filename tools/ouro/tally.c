/* SPDX-License-Identifier: MIT */
/*
 * Tally: how often each kind of error occurred.
 *
 * A measurement meets few kinds of errors and may meet each very often, so the kinds are a short
 * list that is searched, and counting one allocates nothing.
 *
 * Owns:    nothing; the names are constant texts of others.
 * Threads: one at a time.
 */
#include "tally.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void tally_add(struct tally *tally, const char *name, const char *text)
{
    size_t i = 0;
    while (i < TALLY_KINDS_MAX - 1 && tally->kinds[i].count != 0 &&
           strcmp(tally->kinds[i].name, name) != 0)
        i++;
    bool is_last = i == TALLY_KINDS_MAX - 1;
    tally->kinds[i].name = is_last ? "other" : name;
    tally->kinds[i].text = is_last ? "" : text;
    tally->kinds[i].count++;
    tally->total++;
}

json_t *tally_json(const struct tally *tally)
{
    json_t *errors = json_object();
    int rc = 0;
    for (size_t i = 0; i < TALLY_KINDS_MAX && tally->kinds[i].count > 0; i++)
        rc |= json_object_set_new(errors, tally->kinds[i].name,
                                  json_integer((json_int_t)tally->kinds[i].count));
    if (rc != 0) { /* no memory: half a list is none */
        json_decref(errors);
        return NULL;
    }
    return errors;
}

void tally_print(const struct tally *tally)
{
    for (size_t i = 0; i < TALLY_KINDS_MAX && tally->kinds[i].count > 0; i++)
        printf("%10" PRIu64 "  %s%s%s\n", tally->kinds[i].count, tally->kinds[i].name,
               *tally->kinds[i].text ? "  " : "", tally->kinds[i].text);
}
