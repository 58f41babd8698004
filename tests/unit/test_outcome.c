// SPDX-License-Identifier: Apache-2.0
/* How a machine ended, as exit status and as JSON. */
#include "machine/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "scratch.h"

static int make_folder(void **state)
{
    static char folder[64];

    strcpy(folder, "/tmp/hutch-outcome-XXXXXX");
    *state = scratch_make(folder);
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    return rmdir(*state); /* fails if a test left something behind */
}

static const struct {
    struct outcome outcome;
    int status;
    const char *name;
} ends[] = {
    { { OUTCOME_POWEROFF, 0, 0 }, 0, "poweroff" },
    { { OUTCOME_REBOOT, 0, 0 }, 120, "reboot" },
    { { OUTCOME_GUEST_DOWN, 0, 0 }, 121, "guest-down" },
    { { OUTCOME_PANIC, 0, 0 }, 122, "panic" },
    { { OUTCOME_TIMEOUT, 0, 0 }, 124, "timeout" },
    { { OUTCOME_TOOL_ERROR, 0, 0 }, 125, "tool-error" },
    { { OUTCOME_NONE, 0, 0 }, 125, "tool-error" },
    { { OUTCOME_DEBUG_EXIT, 0, 0 }, 1, "exit" },
    { { OUTCOME_DEBUG_EXIT, 16, 0 }, 33, "exit" },
    { { OUTCOME_DEBUG_EXIT, 0xffffffff, 0 }, 255, "exit" },
    { { OUTCOME_STOPPED, SIGTERM, 0 }, 143, "signal" },
    { { OUTCOME_EXIT, 7, 0 }, 7, "exit" },
    { { OUTCOME_SIGNAL, SIGKILL, 0 }, 137, "signal" },
    { { OUTCOME_NOT_STARTED, 127, 0 }, 127, "tool-error" },
    { { OUTCOME_BOOT_FAILURE, 0, 0 }, 123, "boot-failure" },
    { { OUTCOME_OOPS, 0, 0 }, 122, "oops" },
    { { OUTCOME_STOPPED, 0, 0 }, 130, "signal" }, /* the escape key */
};

static void each_end_has_its_status_and_word(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        assert_int_equal(outcome_status(&ends[i].outcome), ends[i].status);
        assert_string_equal(outcome_name(&ends[i].outcome), ends[i].name);
    }
}

/* Writes the outcome into a file in @folder, and checks what is in it. */
static void check_written(const char *folder, const struct outcome *outcome, const char *expected)
{
    char path[80], *text = NULL;

    (void)snprintf(path, sizeof(path), "%s/result", folder);
    assert_int_equal(outcome_write(outcome, "web \"1\"", path), 0);
    assert_int_equal(fd_read_file(path, 4096, &text, NULL), 0);
    assert_string_equal(text, expected);
    free(text);
    assert_int_equal(unlink(path), 0);
}

static void the_result_is_one_object(void **state)
{
    const struct outcome poweroff = { OUTCOME_POWEROFF, 0, 1234 };

    check_written(*state, &poweroff,
                  "{\"outcome\": \"poweroff\", \"status\": 0, \"name\": \"web \\\"1\\\"\", "
                  "\"duration_ms\": 1234}\n");
}

static void the_result_has_the_whole_value(void **state)
{
    const struct outcome exit = { OUTCOME_DEBUG_EXIT, 0x12345678, 5 };

    check_written(*state, &exit,
                  "{\"outcome\": \"exit\", \"status\": 241, \"value\": 305419896, "
                  "\"name\": \"web \\\"1\\\"\", \"duration_ms\": 5}\n");
}

static void the_result_names_the_signal(void **state)
{
    const struct outcome stopped = { OUTCOME_STOPPED, SIGTERM, 5 };

    check_written(*state, &stopped,
                  "{\"outcome\": \"signal\", \"status\": 143, \"signal\": 15, "
                  "\"name\": \"web \\\"1\\\"\", \"duration_ms\": 5}\n");
}

static void the_result_has_the_times_and_words_that_there_are(void **state)
{
    const struct outcome killed = {
        .kind = OUTCOME_SIGNAL,
        .value = SIGKILL,
        .duration_ms = 40,
        .launched_ms = 1700000000123,
        .up_ms = 10,
        .started_ms = 20,
        .ended_ms = 30,
        .kernel = "6.1.0",
        .reason = "why",
        .oops = "BUG: here",
        .oom = "Out of memory: \"x\"",
    };

    check_written(*state, &killed,
                  "{\"outcome\": \"signal\", \"status\": 137, \"signal\": 9, \"reason\": \"why\", "
                  "\"oops\": \"BUG: here\", \"oom\": \"Out of memory: \\\"x\\\"\", "
                  "\"name\": \"web \\\"1\\\"\", \"launched_unix_ms\": 1700000000123, "
                  "\"duration_ms\": 40, \"up_ms\": 10, \"started_ms\": 20, \"ended_ms\": 30, "
                  "\"kernel\": \"6.1.0\"}\n");
}

static void an_old_result_is_replaced_as_a_whole(void **state)
{
    const struct outcome poweroff = { OUTCOME_POWEROFF, 0, 1 };
    char path[80], link_path[80];
    struct stat before, after;

    (void)snprintf(path, sizeof(path), "%s/result", (char *)*state);
    (void)snprintf(link_path, sizeof(link_path), "%s/old", (char *)*state);
    assert_int_equal(outcome_write(&poweroff, "a", path), 0);
    assert_int_equal(link(path, link_path), 0); /* or its inode might be used again */
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(outcome_write(&poweroff, "b", path), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(after.st_mode & 0777, 0644 & before.st_mode);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(link_path), 0);
}

static void a_result_that_cannot_be_written_leaves_nothing(void **state)
{
    const struct outcome poweroff = { OUTCOME_POWEROFF, 0, 1 };
    char path[80];

    (void)snprintf(path, sizeof(path), "%s/nowhere/result", (char *)*state);
    assert_int_equal(outcome_write(&poweroff, "a", path), -ENOENT);
    assert_int_equal(outcome_write(&poweroff, "a", *state), -EISDIR);
}

static void a_device_is_written_to_and_stays(void **state)
{
    const struct outcome poweroff = { OUTCOME_POWEROFF, 0, 1 };
    struct stat st;
    (void)state;

    assert_int_equal(outcome_write(&poweroff, "a", "/dev/null"), 0);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_true(outcome_write(&poweroff, "a", "/dev/full") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_end_has_its_status_and_word),
        cmocka_unit_test(the_result_is_one_object),
        cmocka_unit_test(the_result_has_the_whole_value),
        cmocka_unit_test(the_result_names_the_signal),
        cmocka_unit_test(the_result_has_the_times_and_words_that_there_are),
        cmocka_unit_test(an_old_result_is_replaced_as_a_whole),
        cmocka_unit_test(a_result_that_cannot_be_written_leaves_nothing),
        cmocka_unit_test(a_device_is_written_to_and_stays),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
