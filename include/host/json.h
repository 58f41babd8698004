// SPDX-License-Identifier: Apache-2.0
/* Writes JSON (RFC 8259) to a stream.
 *
 * Keys are NULL inside arrays and at the top. Whatever bytes a text has, what is written is valid
 * UTF-8. Errors stay in the stream: ask ferror() at the end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool is_pretty; /* one member a line, indented; else all on one line */
    int depth;
    bool has_members; /* of the innermost object or array */
};

void json_init(struct json *json, FILE *out, bool is_pretty);

void json_begin_object(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_begin_array(struct json *json, const char *key);
void json_end_array(struct json *json);

/* NULL is written as null. */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, uint64_t number);
void json_bool(struct json *json, const char *key, bool value);
