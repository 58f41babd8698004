// SPDX-License-Identifier: Apache-2.0
/* The escape key's filter. */
#include "machine/escape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

enum { CONTROL_A = 1 };

/* Filters @typed and checks what is left of it. */
static enum escape_command filter(struct escape *escape, const char *typed, const char *expected)
{
    uint8_t data[64];
    size_t len = strlen(typed);

    memcpy(data, typed, len);
    enum escape_command command = escape_filter(escape, data, &len);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(data, expected, len);
    return command;
}

static void plain_bytes_pass(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "ls -x\r", "ls -x\r"), ESCAPE_NONE);
}

static void the_key_and_x_quit(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "ab\001xrest", "ab"), ESCAPE_QUIT);
}

static void the_key_and_h_ask_for_help_and_the_rest_passes(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "a\001hb", "ab"), ESCAPE_HELP);
}

static void the_key_and_b_send_a_break(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "a\001bc", "ac"), ESCAPE_BREAK);
}

static void the_key_typed_twice_is_sent_once(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "\001\001x", "\001x"), ESCAPE_NONE);
}

static void the_key_is_remembered_from_one_read_to_the_next(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "a\001", "a"), ESCAPE_NONE);
    assert_int_equal(filter(&escape, "x", ""), ESCAPE_QUIT);
}

static void an_unknown_command_is_dropped(void **state)
{
    struct escape escape = { .key = CONTROL_A };
    (void)state;

    assert_int_equal(filter(&escape, "a\001zb", "ab"), ESCAPE_NONE);
}

static void without_a_key_everything_passes(void **state)
{
    struct escape escape = { .key = -1 };
    (void)state;

    assert_int_equal(filter(&escape, "\001x", "\001x"), ESCAPE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bytes_pass),
        cmocka_unit_test(the_key_and_x_quit),
        cmocka_unit_test(the_key_and_h_ask_for_help_and_the_rest_passes),
        cmocka_unit_test(the_key_and_b_send_a_break),
        cmocka_unit_test(the_key_typed_twice_is_sent_once),
        cmocka_unit_test(the_key_is_remembered_from_one_read_to_the_next),
        cmocka_unit_test(an_unknown_command_is_dropped),
        cmocka_unit_test(without_a_key_everything_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
