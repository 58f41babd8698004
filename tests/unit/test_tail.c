// SPDX-License-Identifier: Apache-2.0
/* The last lines of a console. */
#include "machine/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct lines {
    size_t count;
    char first[64], last[2048];
};

static void note_line(void *ctx, const char *text)
{
    struct lines *lines = ctx;

    if (lines->count++ == 0)
        (void)snprintf(lines->first, sizeof(lines->first), "%s", text);
    (void)snprintf(lines->last, sizeof(lines->last), "%s", text);
}

static void add(struct tail *tail, const char *text)
{
    tail_add(tail, (const uint8_t *)text, strlen(text));
}

static void shows_lines_without_their_ends(void **state)
{
    static struct tail tail;
    struct lines lines = { 0 };
    (void)state;

    add(&tail, "one\r\ntwo\r\n\r\nthr");
    add(&tail, "ee");
    tail_each(&tail, note_line, &lines);

    assert_int_equal(lines.count, 3);
    assert_string_equal(lines.first, "one");
    assert_string_equal(lines.last, "three");
}

static void shows_the_last_lines_alone(void **state)
{
    static struct tail tail;
    struct lines lines = { 0 };
    char text[32];
    (void)state;

    for (int i = 1; i <= 3 * TAIL_LINES; i++) {
        (void)snprintf(text, sizeof(text), "line %d\n", i);
        add(&tail, text);
    }
    tail_each(&tail, note_line, &lines);

    assert_int_equal(lines.count, TAIL_LINES);
    assert_string_equal(lines.first, "line 101");
    assert_string_equal(lines.last, "line 150");
}

static void an_endless_line_is_bounded(void **state)
{
    static struct tail tail;
    struct lines lines = { 0 };
    (void)state;

    for (int i = 0; i < 3 * TAIL_SIZE; i++)
        add(&tail, "x");
    tail_each(&tail, note_line, &lines);

    assert_int_equal(lines.count, 1);
    assert_int_equal(strlen(lines.last), 1024);
}

static void nothing_is_no_line(void **state)
{
    static struct tail tail;
    struct lines lines = { 0 };
    (void)state;

    tail_each(&tail, note_line, &lines);

    assert_int_equal(lines.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_lines_without_their_ends),
        cmocka_unit_test(shows_the_last_lines_alone),
        cmocka_unit_test(an_endless_line_is_bounded),
        cmocka_unit_test(nothing_is_no_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
