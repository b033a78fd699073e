/* SPDX-License-Identifier: MIT */
/*
 * JSON text: the command's results as JSON, whatever bytes they are made of.
 *
 * JSON is UTF-8 (RFC 8259), and jansson makes no string of anything else.  A Unix path and a name
 * on the command line are any bytes.  The result must come all the same, so what is not UTF-8 is
 * replaced, as most programs that print JSON do.  The text cannot be turned back into the bytes
 * then; whoever gave the target has them.
 *
 * Owns:    nothing.
 * Threads: one at a time.
 */
#include "json_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* The length of the UTF-8 sequence at @at; 0 when it is none (RFC 3629).  No byte of one is zero,
 * so this never looks beyond the terminator. */
static size_t utf8_sequence(const unsigned char *at)
{
    static const struct {
        unsigned char first, last;            /* the first byte */
        unsigned char second_min, second_max; /* the next; any further one is 0x80..0xbf */
        size_t length;
    } forms[] = {
        {0x01, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (at[0] < forms[i].first || at[0] > forms[i].last)
            continue;
        size_t length = forms[i].length;
        if (length > 1 && (at[1] < forms[i].second_min || at[1] > forms[i].second_max))
            return 0;
        for (size_t k = 2; k < length; k++)
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        return length;
    }
    return 0;
}

json_t *json_text_string(const char *bytes)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    char *text = malloc(strlen(bytes) * (sizeof(replacement) - 1) + 1);
    if (text == NULL)
        return NULL;
    char *end = text;
    while (*bytes != '\0') {
        size_t length = utf8_sequence((const unsigned char *)bytes);
        const char *from = length > 0 ? bytes : replacement;
        size_t size = length > 0 ? length : sizeof(replacement) - 1;
        memcpy(end, from, size);
        end += size;
        bytes += length > 0 ? length : 1;
    }
    *end = '\0';
    json_t *string = json_string(text);
    free(text);
    return string;
}

char *json_text_line(json_t *object)
{
    char *line = NULL;
    char *text = object != NULL ? json_dumps(object, JSON_REAL_PRECISION(9)) : NULL;
    if (text != NULL && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    json_decref(object);
    return line;
}

bool json_text_print(json_t *object)
{
    char *line = json_text_line(object);
    if (line == NULL)
        output_lost(ENOMEM);
    bool written = line != NULL && output_result(line);
    free(line);
    return written;
}
