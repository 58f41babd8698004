// SPDX-License-Identifier: Apache-2.0
/* The conversation with the agent, with a guest that the test plays. */
#include "machine/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <time.h>

#include "agent_bench.h"
#include "host/fd.h"

static void say_with(struct fixture *f, uint16_t type, uint16_t stream, const void *data,
                     uint32_t len)
{
    struct agent_header header = { len, type, stream };

    agent_receive(f->agent, (const uint8_t *)&header, sizeof(header));
    agent_receive(f->agent, data, len);
}

static void say(struct fixture *f, uint16_t type)
{
    say_with(f, type, 0, "", 0);
}

static void say_hello(struct fixture *f, uint32_t version)
{
    struct agent_hello hello = { .version = version, .uptime_ns = 5 };
    uint8_t data[sizeof(hello) + 5];

    memcpy(data, &hello, sizeof(hello));
    memcpy(data + sizeof(hello), "6.1.0", 5);
    say_with(f, AGENT_HELLO, 0, data, sizeof(data));
}

/* Takes the next frame that was sent to the guest; its type, or 0 if there is none. */
static uint16_t hear(struct fixture *f, void *data, size_t size, uint16_t *stream)
{
    struct agent_header header;

    if (recv(f->port[1], &header, sizeof(header), MSG_DONTWAIT) != (ssize_t)sizeof(header))
        return 0;
    assert_true(header.len <= AGENT_PAYLOAD_MAX);
    uint8_t payload[AGENT_PAYLOAD_MAX];
    if (header.len > 0)
        assert_int_equal(recv(f->port[1], payload, header.len, MSG_DONTWAIT), header.len);
    if (data)
        memcpy(data, payload, header.len < size ? header.len : size);
    if (stream)
        *stream = header.stream;
    return header.type;
}

static void start_fake(struct fixture *f)
{
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);
    say_hello(f, AGENT_VERSION);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_JOB);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_RUN);
    say(f, AGENT_STARTED);
}

static void expect_refusal(struct fixture *f, const char *part)
{
    assert_int_equal(agent_result(f->agent)->end, AGENT_END_BROKEN);
    assert_int_equal(agent_result(f->agent)->value, 0);
    assert_non_null(strstr(agent_result(f->agent)->text, part));
}

static void nothing_is_sent_before_hello(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);

    agent_signal(f->agent, SIGINT);
    agent_resize(f->agent, 80, 25);
    run_ms(f, 10);

    assert_int_equal(hear(f, NULL, 0, NULL), 0);
}

static void hello_is_answered_by_the_job(void **state)
{
    struct fixture *f = *state;
    struct agent_record record;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);

    say_hello(f, AGENT_VERSION);

    assert_int_equal(hear(f, &record, sizeof(record), NULL), AGENT_JOB);
    assert_int_equal(record.type, AGENT_RECORD_ARG);
    assert_int_equal(record.len, 5);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_RUN);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);
    assert_true(agent_result(f->agent)->is_up);
    assert_string_equal(agent_result(f->agent)->release, "6.1.0");
}

static uint64_t now_ns(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void the_guest_is_told_what_time_it_is(void **state)
{
    struct fixture *f = *state;
    struct agent_run run = { 0 };
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);
    uint64_t before = now_ns();

    say_hello(f, AGENT_VERSION);

    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_JOB);
    assert_int_equal(hear(f, &run, sizeof(run), NULL), AGENT_RUN);
    assert_in_range(run.time_ns, before, now_ns());
}

static void a_long_job_goes_in_pieces(void **state)
{
    struct fixture *f = *state;
    static char text[3 * AGENT_PAYLOAD_MAX];
    memset(text, 'x', sizeof(text) - 1);
    agent_job_text(&f->job, AGENT_RECORD_ENV, text);
    make_agent(f);

    say_hello(f, AGENT_VERSION);

    for (int i = 0; i < 4; i++)
        assert_int_equal(hear(f, NULL, 0, NULL), AGENT_JOB);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_RUN);
}

static void a_job_has_a_limit(void **state)
{
    struct fixture *f = *state;
    static char text[AGENT_JOB_MAX];
    memset(text, 'x', sizeof(text) - 1);

    agent_job_text(&f->job, AGENT_RECORD_ENV, text);
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");

    assert_int_equal(f->job.err, -E2BIG);
}

static void another_version_is_refused(void **state)
{
    struct fixture *f = *state;
    make_agent(f);

    say_hello(f, AGENT_VERSION + 1);

    expect_refusal(f, "version");
}

static void the_command_gets_credit_for_what_fits(void **state)
{
    struct fixture *f = *state;
    uint32_t credit = 0;
    uint16_t stream;
    start_fake(f);

    assert_int_equal(hear(f, &credit, sizeof(credit), &stream), AGENT_OUTPUT_CREDIT);
    assert_int_equal(stream, AGENT_STDOUT);
    assert_in_range(credit, 4096, 1 << 20);
    assert_int_equal(hear(f, &credit, sizeof(credit), &stream), AGENT_OUTPUT_CREDIT);
    assert_int_equal(stream, AGENT_STDERR);
}

static void output_beyond_the_credit_is_refused(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[AGENT_PAYLOAD_MAX];
    start_fake(f);

    for (int i = 0; i < 100 && !has_ended(f); i++) /* the loop does not run: nothing is written */
        say_with(f, AGENT_OUTPUT, AGENT_STDOUT, data, sizeof(data));

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_BROKEN);
}

static void output_goes_to_its_own_descriptor(void **state)
{
    struct fixture *f = *state;
    start_fake(f);

    say_with(f, AGENT_OUTPUT, AGENT_STDOUT, "out", 3);
    say_with(f, AGENT_OUTPUT, AGENT_STDERR, "err!", 4);
    run_ms(f, 10);

    assert_int_equal(f->out.len, 3);
    assert_memory_equal(f->out.data, "out", 3);
    assert_int_equal(f->err.len, 4);
    assert_memory_equal(f->err.data, "err!", 4);
}

static void input_waits_for_credit(void **state)
{
    struct fixture *f = *state;
    const uint32_t credit = 3;
    char data[8] = "";
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;
    assert_int_equal(fd_write_full(f->input[1], "hello", 5), 0);
    fd_close(&f->input[1]);
    run_ms(f, 10);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);

    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));
    run_ms(f, 10);
    assert_int_equal(hear(f, data, sizeof(data), NULL), AGENT_INPUT);
    assert_string_equal(data, "hel");
    assert_int_equal(hear(f, NULL, 0, NULL), 0);
    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));
    run_ms(f, 10);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_INPUT);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_INPUT_END);
}

static void signals_and_sizes_reach_the_command(void **state)
{
    struct fixture *f = *state;
    uint32_t number = 0;
    struct agent_window window = { 0, 0 };
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;

    agent_signal(f->agent, SIGTERM);
    agent_resize(f->agent, 132, 50);

    assert_int_equal(hear(f, &number, sizeof(number), NULL), AGENT_SIGNAL);
    assert_int_equal(number, SIGTERM);
    assert_int_equal(hear(f, &window, sizeof(window), NULL), AGENT_RESIZE);
    assert_int_equal(window.columns, 132);
    assert_int_equal(window.rows, 50);
}

static void an_end_is_told_with_its_status(void **state)
{
    struct fixture *f = *state;
    const struct agent_ended ended = { .status = 7 };
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;

    say_with(f, AGENT_ENDED, 0, &ended, sizeof(ended));

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_EXIT);
    assert_int_equal(agent_result(f->agent)->value, 7);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);
}

static void the_end_waits_for_a_slow_reader(void **state)
{
    struct fixture *f = *state;
    const struct agent_ended ended = { .status = 0 };
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;
    int changes = f->changes;

    say_with(f, AGENT_OUTPUT, AGENT_STDOUT, "last", 4);
    say_with(f, AGENT_ENDED, 0, &ended, sizeof(ended));
    assert_int_equal(f->changes, changes);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);

    run_ms(f, 10);
    assert_int_equal(f->changes, changes + 1);
    assert_int_equal(f->out.len, 4);
}

static void a_failure_has_its_status_and_sentence(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "nothing");
    make_agent(f);
    say_hello(f, AGENT_VERSION);

    say_with(f, AGENT_FAILED, 0, "\x7f\0\0\0not here", 12);

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_FAILED);
    assert_int_equal(agent_result(f->agent)->value, 127);
    assert_string_equal(agent_result(f->agent)->text, "not here");
}

static void what_the_guests_kernel_cannot_do_has_its_status(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "nothing");
    make_agent(f);
    say_hello(f, AGENT_VERSION);

    say_with(f, AGENT_FAILED, 0, "\x7b\0\0\0no file system", 18);

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_FAILED);
    assert_int_equal(agent_result(f->agent)->value, 123);
}

static void a_kernels_oops_is_noted(void **state)
{
    struct fixture *f = *state;
    start_fake(f);

    int changes = f->changes;

    say_with(f, AGENT_EVENT, 0, "\1\0\0\0Oops: 1", 11);
    say_with(f, AGENT_EVENT, 0, "\1\0\0\0Oops: 2", 11); /* what follows from the first */

    assert_int_equal(f->changes, changes + 1);
    assert_true(agent_result(f->agent)->has_oops);
    assert_false(agent_result(f->agent)->has_oom);
    assert_string_equal(agent_result(f->agent)->oops, "Oops: 1");
}

/* Each in a conversation of its own, after STARTED. */
static void nonsense_ends_the_conversation(void **state)
{
    static const struct {
        uint16_t type, stream;
        uint32_t len;
    } frames[] = {
        { AGENT_HELLO, 0, 16 },
        { AGENT_STARTED, 0, 0 },
        { AGENT_FAILED, 0, 3 },
        { AGENT_OUTPUT, AGENT_STDIN, 1 },
        { AGENT_OUTPUT, 3, 1 },
        { AGENT_OUTPUT_END, 9, 0 },
        { AGENT_INPUT_CREDIT, 0, 3 },
        { AGENT_EVENT, 0, 1 },
        { AGENT_ENDED, 0, 7 },
        { AGENT_JOB, 0, 8 },
        { 0, 0, 0 },
        { 65535, 0, 0 },
    };
    struct fixture *f = *state;
    const uint8_t data[64] = { 0 };

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        start_fake(f);
        say_with(f, frames[i].type, frames[i].stream, data, frames[i].len);
        assert_int_equal(agent_result(f->agent)->end, AGENT_END_BROKEN);
        while (hear(f, NULL, 0, NULL))
            ;
        agent_destroy(f->agent);
        f->agent = NULL;
    }
}

static void a_length_beyond_all_bounds_is_refused(void **state)
{
    struct fixture *f = *state;
    struct agent_header header = { UINT32_MAX, AGENT_OUTPUT, AGENT_STDOUT };
    start_fake(f);

    agent_receive(f->agent, (const uint8_t *)&header, sizeof(header));

    expect_refusal(f, "too long");
}

static void credit_without_end_is_refused(void **state)
{
    struct fixture *f = *state;
    const uint32_t credit = AGENT_CREDIT_MAX;
    start_fake(f);

    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));
    assert_false(has_ended(f));
    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));

    expect_refusal(f, "credit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_sent_before_hello),
        TEST(hello_is_answered_by_the_job),
        TEST(the_guest_is_told_what_time_it_is),
        TEST(a_long_job_goes_in_pieces),
        TEST(a_job_has_a_limit),
        TEST(another_version_is_refused),
        TEST(the_command_gets_credit_for_what_fits),
        TEST(output_beyond_the_credit_is_refused),
        TEST(output_goes_to_its_own_descriptor),
        TEST(input_waits_for_credit),
        TEST(signals_and_sizes_reach_the_command),
        TEST(an_end_is_told_with_its_status),
        TEST(the_end_waits_for_a_slow_reader),
        TEST(a_failure_has_its_status_and_sentence),
        TEST(what_the_guests_kernel_cannot_do_has_its_status),
        TEST(a_kernels_oops_is_noted),
        TEST(nonsense_ends_the_conversation),
        TEST(a_length_beyond_all_bounds_is_refused),
        TEST(credit_without_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
