// SPDX-License-Identifier: Apache-2.0
/* Writes JSON.
 *
 * Our own, since output is all that is needed, and since Debian's archives do not serve the static
 * program: libjansson.a is built against glibc's fortified functions, which musl does not have,
 * and libcjson comes without an archive. */
#include "host/json.h"

#include <string.h>

void json_init(struct json *json, FILE *out, bool is_pretty)
{
    *json = (struct json){ .out = out, .is_pretty = is_pretty };
}

static void new_line(struct json *json)
{
    if (json->is_pretty)
        fprintf(json->out, "\n%*s", json->depth * 2, "");
}

/* The length of the well-formed UTF-8 sequence at @text (Unicode 15, table 3-7), or 0. */
static size_t utf8_len(const unsigned char *text)
{
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t len = first < 0x80                     ? 1
                 : first >= 0xc2 && first <= 0xdf ? 2
                 : (first & 0xf0) == 0xe0         ? 3
                 : first >= 0xf0 && first <= 0xf4 ? 4
                                                  : 0;

    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xed)
        high = 0x9f; /* no surrogates */
    else if (first == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf) {
        if (text[i] < low || text[i] > high)
            return 0;
    }
    return len;
}

static void write_text(struct json *json, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    fputc('"', json->out);
    while (*at) {
        size_t len = utf8_len(at);
        if (!len)
            fputs("\\ufffd", json->out); /* the replacement character */
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(json->out, "\\u%04x", *at);
        else if (*at == '"' || *at == '\\')
            fprintf(json->out, "\\%c", *at);
        else
            fwrite(at, 1, len, json->out);
        at += len ? len : 1;
    }
    fputc('"', json->out);
}

/* What stands in front of a member or element. */
static void begin_value(struct json *json, const char *key)
{
    if (json->has_members)
        fputs(json->is_pretty ? "," : ", ", json->out);
    if (json->depth)
        new_line(json);
    json->has_members = true;
    if (key) {
        write_text(json, key);
        fputs(": ", json->out);
    }
}

static void begin_nested(struct json *json, const char *key, char bracket)
{
    begin_value(json, key);
    fputc(bracket, json->out);
    json->depth++;
    json->has_members = false;
}

static void end_nested(struct json *json, char bracket)
{
    json->depth--;
    if (json->has_members)
        new_line(json);
    fputc(bracket, json->out);
    json->has_members = true;
    if (!json->depth)
        fputc('\n', json->out);
}

void json_begin_object(struct json *json, const char *key)
{
    begin_nested(json, key, '{');
}

void json_end_object(struct json *json)
{
    end_nested(json, '}');
}

void json_begin_array(struct json *json, const char *key)
{
    begin_nested(json, key, '[');
}

void json_end_array(struct json *json)
{
    end_nested(json, ']');
}

void json_text(struct json *json, const char *key, const char *text)
{
    begin_value(json, key);
    if (text)
        write_text(json, text);
    else
        fputs("null", json->out);
}

void json_number(struct json *json, const char *key, uint64_t number)
{
    begin_value(json, key);
    fprintf(json->out, "%ju", (uintmax_t)number);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    fputs(value ? "true" : "false", json->out);
}
