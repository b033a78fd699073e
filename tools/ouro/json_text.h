/* SPDX-License-Identifier: MIT */
/*
 * JSON as the command prints it.
 */
#ifndef OURO_CLI_JSON_TEXT_H
#define OURO_CLI_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>

/*
 * A JSON string of any bytes: each byte that belongs to no valid UTF-8 sequence becomes U+FFFD.
 * NULL without memory.
 */
json_t *json_text_string(const char *bytes);

/* @object on one line, for the caller to free(); releases @object.  NULL without memory. */
char *json_text_line(json_t *object);

/* Prints @object on one line of stdout and releases it.  When that fails, says why; false then. */
bool json_text_print(json_t *object);

#endif
