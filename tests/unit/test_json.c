// SPDX-License-Identifier: Apache-2.0
/* The writer of JSON. */
#include "host/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

struct output {
    struct json json;
    FILE *stream;
    char *text;
    size_t len;
};

static void begin(struct output *output, bool is_pretty)
{
    output->stream = open_memstream(&output->text, &output->len);
    assert_non_null(output->stream);
    json_init(&output->json, output->stream, is_pretty);
}

static void check(struct output *output, const char *expected)
{
    assert_int_equal(fclose(output->stream), 0);
    assert_string_equal(output->text, expected);
    free(output->text);
}

static void objects_and_arrays_nest(void **state)
{
    struct output output;
    struct json *json = &output.json;
    (void)state;

    begin(&output, false);
    json_begin_object(json, NULL);
    json_number(json, "a", UINT64_MAX);
    json_begin_array(json, "b");
    json_bool(json, NULL, true);
    json_text(json, NULL, NULL);
    json_begin_object(json, NULL);
    json_end_object(json);
    json_end_array(json);
    json_begin_array(json, "c");
    json_end_array(json);
    json_text(json, "d", "x");
    json_end_object(json);
    check(&output,
          "{\"a\": 18446744073709551615, \"b\": [true, null, {}], \"c\": [], \"d\": \"x\"}\n");
}

static void pretty_is_indented(void **state)
{
    struct output output;
    (void)state;

    begin(&output, true);
    json_begin_object(&output.json, NULL);
    json_begin_array(&output.json, "a");
    json_number(&output.json, NULL, 1);
    json_number(&output.json, NULL, 2);
    json_end_array(&output.json);
    json_bool(&output.json, "b", false);
    json_end_object(&output.json);
    check(&output, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": false\n}\n");
}

static void check_text(const char *text, const char *expected)
{
    struct output output;

    begin(&output, false);
    json_text(&output.json, NULL, text);
    check(&output, expected);
}

static void what_json_cannot_have_is_escaped(void **state)
{
    (void)state;

    check_text("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
    check_text("\n\t\x1b\x7f", "\"\\u000a\\u0009\\u001b\\u007f\"");
}

static void utf8_passes_and_other_bytes_are_replaced(void **state)
{
    (void)state;

    check_text("\xc3\xa4\xe2\x82\xac\xf0\x9f\x8f\xa0", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x8f\xa0\"");
    check_text("\xff", "\"\\ufffd\"");
    check_text("\xc3", "\"\\ufffd\"");                       /* cut off */
    check_text("\xc0\xaf", "\"\\ufffd\\ufffd\"");            /* longer than need be */
    check_text("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* half of a surrogate pair */
    check_text("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* beyond Unicode */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_nest),
        cmocka_unit_test(pretty_is_indented),
        cmocka_unit_test(what_json_cannot_have_is_escaped),
        cmocka_unit_test(utf8_passes_and_other_bytes_are_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
