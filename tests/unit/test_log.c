// SPDX-License-Identifier: Apache-2.0
/* What hutch says, as it arrives on stderr. */
#include "host/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"
#include "log_capture.h"

static int set_up(void **state)
{
    struct log_capture *capture = calloc(1, sizeof(*capture));

    *state = capture;
    return capture ? log_capture_begin(capture) : -1;
}

static int tear_down(void **state)
{
    log_capture_end(*state);
    free(*state);
    log_set_level(LOG_LEVEL_WARN);
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && !strcmp(text + len - end_len, end);
}

/* A text of @len times @c, the caller's to free. */
static char *repeat(char c, size_t len)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    memset(text, c, len);
    text[len] = '\0';
    return text;
}

static void a_message_is_one_line(void **state)
{
    log_error("disk '%s': %d bytes", "a\nb\033c", 7);

    assert_string_equal(log_capture_read(*state), "hutch: disk 'a\\nb\\033c': 7 bytes\n");
    log_error("disk '%s'", "U+009B \xc2\x9bm, an e with an accent \xc3\xa9, the sign \xc2\xa7");
    assert_non_null(
        strstr(log_capture_read(*state),
               "U+009B \\302\\233m, an e with an accent \xc3\xa9, the sign \xc2\xa7'\n"));
}

static void what_is_above_the_level_is_not_said(void **state)
{
    log_info("nothing");
    assert_string_equal(log_capture_read(*state), "");
    log_set_level(LOG_LEVEL_INFO);
    log_info("something");
    assert_string_equal(log_capture_read(*state), "hutch: something\n");
}

static void an_error_has_its_cause_at_the_end(void **state)
{
    assert_int_equal(log_errno(-ENOENT, "disk '%s': open", "x"), -ENOENT);

    assert_string_equal(log_capture_read(*state),
                        "hutch: disk 'x': open: No such file or directory\n");
}

static void a_message_of_2000_bytes_is_said_whole(void **state)
{
    AUTO_FREE char *name = repeat('x', 2000);
    char expected[PIPE_BUF];

    (void)log_errno(-ENOENT, "disk '%s': open", name);

    (void)snprintf(expected, sizeof(expected),
                   "hutch: disk '%s': open: No such file or directory\n", name);
    assert_string_equal(log_capture_read(*state), expected);
}

static void a_message_that_is_too_long_keeps_its_beginning_and_its_end(void **state)
{
    AUTO_FREE char *name = repeat('x', 100000);

    (void)log_errno(-ENOENT, "disk '%s': open", name);

    const char *line = log_capture_read(*state);
    assert_true(strlen(line) <= PIPE_BUF && strlen(line) > PIPE_BUF - 8);
    assert_memory_equal(line, "hutch: disk 'xxx", 16);
    assert_non_null(strstr(line, "xxx [...] xxx"));
    assert_true(ends_with(line, "xxx': open: No such file or directory\n"));
}

static void so_does_one_of_characters_that_take_more_room(void **state)
{
    for (size_t len = 900; len < 1200; len++) {
        AUTO_FREE char *name = repeat('\a', len);

        log_error("disk '%s': it is empty", name);

        const char *line = log_capture_read(*state);
        assert_true(strlen(line) <= PIPE_BUF);
        assert_memory_equal(line, "hutch: disk '\\007", 17);
        assert_true(ends_with(line, "\\007': it is empty\n"));
    }
}

static void a_reader_who_takes_nothing_is_not_waited_for(void **state)
{
    struct log_capture *capture = *state;
    struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
    assert_int_equal(fd_set_nonblocking(STDERR_FILENO, 0), 0);
    while (poll(&room, 1, 0) == 1)
        log_error("more than is read");

    (void)alarm(20);
    for (int i = 0; i < 100; i++)
        log_error("lost %0100d", i);
    (void)alarm(0);

    while (*log_capture_read(capture))
        ;
    log_error("heard");
    assert_string_equal(log_capture_read(capture), "hutch: heard\n");
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_message_is_one_line),
        LOG_TEST(what_is_above_the_level_is_not_said),
        LOG_TEST(an_error_has_its_cause_at_the_end),
        LOG_TEST(a_message_of_2000_bytes_is_said_whole),
        LOG_TEST(a_message_that_is_too_long_keeps_its_beginning_and_its_end),
        LOG_TEST(so_does_one_of_characters_that_take_more_room),
        LOG_TEST(a_reader_who_takes_nothing_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
