// SPDX-License-Identifier: Apache-2.0
/* The real agent, as a process of this machine: the command's streams, signals, terminal and end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent_bench.h"
#include "host/fd.h"
#include "host/loop.h"

static void wait_for_output(struct fixture *f, const char *text)
{
    for (int ms = 0; ms < PATIENCE_MS && !has_ended(f); ms += 5) {
        if (memmem(f->out.data, f->out.len, text, strlen(text)))
            return;
        run_ms(f, 5);
    }
    fail_msg("no '%s'", text);
}

static void the_agent_carries_streams_and_status(void **state)
{
    struct fixture *f = *state;

    run_script(f, "echo out; echo err >&2; exit 7");

    expect_end(f, AGENT_END_EXIT, 7);
    expect_output(&f->out, "out\n");
    expect_output(&f->err, "err\n");
    assert_true(agent_result(f->agent)->has_started);
    assert_true(strlen(agent_result(f->agent)->release) > 0);
}

static void the_agent_reports_a_signal(void **state)
{
    struct fixture *f = *state;

    run_script(f, "kill -9 $$");

    expect_end(f, AGENT_END_SIGNAL, SIGKILL);
}

static void the_agent_forwards_signals(void **state)
{
    struct fixture *f = *state;

    run_script(f, "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.01; done");
    wait_for_output(f, "ready\n");
    agent_signal(f->agent, SIGINT);

    expect_end(f, AGENT_END_EXIT, 3);
    expect_output(&f->out, "ready\ngot it\n");
}

static void megabytes_come_back_identical(void **state)
{
    struct fixture *f = *state;
    enum { LEN = 900000 };
    static uint8_t data[LEN];
    size_t sent = 0;
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 31 + i / 253);
    assert_int_equal(fcntl(f->input[1], F_SETFL, O_NONBLOCK), 0);

    run_script(f, "cat");
    for (int ms = 0; ms < PATIENCE_MS && sent < LEN; ms++) {
        ssize_t put = write(f->input[1], data + sent, LEN - sent);

        sent += put > 0 ? (size_t)put : 0;
        run_ms(f, 1);
    }
    fd_close(&f->input[1]);

    expect_end(f, AGENT_END_EXIT, 0);
    assert_int_equal(f->out.len, LEN);
    assert_memory_equal(f->out.data, data, LEN);
}

/* Runs until the reader of @pipe would have to read for more to come. */
static void wait_until_full(struct fixture *f, const int pipe[2])
{
    struct pollfd room = { .fd = pipe[1], .events = POLLOUT };

    for (int ms = 0; ms < PATIENCE_MS && poll(&room, 1, 0) == 1; ms += 5)
        run_ms(f, 5);
    assert_int_equal(poll(&room, 1, 0), 0);
}

static void a_stuck_stdout_holds_up_neither_stderr_nor_signals(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_set_events(f->out.source, 0), 0); /* nobody reads it */

    run_script(f, "(trap '' TERM; yes | head -c 400000) & echo err >&2; "
                  "trap 'echo term >&2; exit 4' TERM; while :; do sleep 0.01; done");
    for (int ms = 0; ms < PATIENCE_MS && f->err.len < 4; ms++)
        run_ms(f, 1);
    expect_output(&f->err, "err\n");
    wait_until_full(f, f->output);
    run_ms(f, 100); /* more is on its way */
    agent_signal(f->agent, SIGTERM);
    for (int ms = 0; ms < PATIENCE_MS && !memmem(f->err.data, f->err.len, "term\n", 5); ms++)
        run_ms(f, 1);
    assert_non_null(memmem(f->err.data, f->err.len, "term\n", 5));
    assert_false(has_ended(f)); /* what it wrote is not read yet */

    assert_int_equal(loop_set_events(f->out.source, LOOP_READABLE), 0);
    expect_end(f, AGENT_END_EXIT, 4);
}

static void a_reader_that_goes_ends_the_writer(void **state)
{
    struct fixture *f = *state;
    loop_remove(f->out.source);
    fd_close(&f->output[0]);

    run_script(f, "yes; echo $? >&2");

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->err, "141\n");
    assert_int_equal(f->failures, 1);
    assert_int_equal(agent_result(f->agent)->lost_err, 0);
}

static void output_that_cannot_be_written_is_noted(void **state)
{
    struct fixture *f = *state;
    fd_close(&f->output[1]);
    f->output[1] = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(f->output[1] >= 0);

    run_script(f, "echo lost");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_int_equal(agent_result(f->agent)->lost_err, -ENOSPC);
}

static void what_stays_in_the_background_holds_up_no_end(void **state)
{
    struct fixture *f = *state;

    run_script(f, "sleep 3 & echo done");

    run_to_end(f);
    expect_output(&f->out, "done\n");
}

static void what_writes_in_the_background_holds_up_no_end(void **state)
{
    enum { ENOUGH = 8 << 20 }; /* bytes: all pipes and buffers, and then some */
    struct fixture *f = *state;
    char data[16384];
    size_t len = 0;

    assert_int_equal(loop_set_events(f->out.source, 0), 0); /* we are slower than it writes */
    run_script(f, "yes & read line; exit 3");
    wait_until_full(f, f->output);
    assert_int_equal(fd_write_full(f->input[1], "\n", 1), 0);
    while (!f->is_told && len < ENOUGH) {
        ssize_t got = read(f->output[0], data, sizeof(data));

        assert_true(got > 0);
        len += (size_t)got;
        run_ms(f, 1);
    }

    expect_end(f, AGENT_END_EXIT, 3);
}

static void what_was_written_before_the_end_is_not_lost(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_set_events(f->out.source, 0), 0); /* nobody reads it yet */

    run_script(f, "head -c 500000 /dev/zero; sleep 3 & echo end >&2; exit 3");
    wait_until_full(f, f->output);
    assert_int_equal(loop_set_events(f->out.source, LOOP_READABLE), 0);

    expect_end(f, AGENT_END_EXIT, 3);
    assert_int_equal(f->out.len, 500000);
    expect_output(&f->err, "end\n");
}

static void a_terminal_has_its_size(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 132, 50);

    run_script(f, "stty size; trap 'stty size; exit 0' WINCH; echo ready; "
                  "while :; do sleep 0.01; done");
    wait_for_output(f, "ready\r\n");
    agent_resize(f->agent, 80, 25);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "50 132\r\nready\r\n25 80\r\n");
    assert_int_equal(f->err.len, 0);
}

static void typed_keys_reach_a_terminal(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 80, 25);

    run_script(f, "stty -echo; echo ready; sleep 10");
    wait_for_output(f, "ready\r\n");
    assert_int_equal(fd_write_full(f->input[1], "\003", 1), 0);

    expect_end(f, AGENT_END_SIGNAL, SIGINT);
}

static void a_terminal_that_nobody_reads_hangs_up(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 80, 25);
    loop_remove(f->out.source);
    fd_close(&f->output[0]);

    run_script(f, "trap 'exit 3' HUP; while :; do echo y; done");

    expect_end(f, AGENT_END_EXIT, 3);
}

static void a_terminals_input_ends_also_in_the_middle_of_a_line(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 80, 25);
    assert_int_equal(fd_write_full(f->input[1], "abc", 3), 0);
    fd_close(&f->input[1]);

    run_script(f, "stty -echo; cat");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_non_null(memmem(f->out.data, f->out.len, "abc", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_agent_carries_streams_and_status),
        TEST(the_agent_reports_a_signal),
        TEST(the_agent_forwards_signals),
        TEST(megabytes_come_back_identical),
        TEST(a_stuck_stdout_holds_up_neither_stderr_nor_signals),
        TEST(a_reader_that_goes_ends_the_writer),
        TEST(output_that_cannot_be_written_is_noted),
        TEST(what_stays_in_the_background_holds_up_no_end),
        TEST(what_writes_in_the_background_holds_up_no_end),
        TEST(what_was_written_before_the_end_is_not_lost),
        TEST(a_terminal_has_its_size),
        TEST(typed_keys_reach_a_terminal),
        TEST(a_terminal_that_nobody_reads_hangs_up),
        TEST(a_terminals_input_ends_also_in_the_middle_of_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
