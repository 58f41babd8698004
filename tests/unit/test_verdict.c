// SPDX-License-Identifier: Apache-2.0
/* What a machine's end, the agent's last word and the console come to together. */
#include "machine/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "log_capture.h"

static struct outcome reach(struct verdict_facts *facts, const struct agent_result *agent,
                            enum outcome_kind machine_kind)
{
    static const struct tail silence;
    struct outcome outcome = { .kind = machine_kind };

    facts->agent = agent;
    if (!facts->console)
        facts->console = &silence;
    verdict_reach(facts, &outcome);
    return outcome;
}

static const struct agent_result nothing,
    running = { .is_up = true, .has_started = true },
    exit_7 = { .is_up = true, .has_started = true, .end = AGENT_END_EXIT, .value = 7 },
    lost_0 = { .is_up = true, .has_started = true, .end = AGENT_END_EXIT, .lost_err = -ENOSPC },
    lost_7 = {
        .is_up = true, .has_started = true, .end = AGENT_END_EXIT, .value = 7, .lost_err = -ENOSPC
    };

/* How the machine ended, what the agent said, whether its output was written: the outcome. */
static const struct {
    enum outcome_kind machine;
    const struct agent_result *agent;
    bool has_ended;
    enum outcome_kind expected;
    int status;
} verdicts[] = {
    { OUTCOME_POWEROFF, &exit_7, true, OUTCOME_EXIT, 7 },
    { OUTCOME_GUEST_DOWN, &exit_7, true, OUTCOME_EXIT, 7 },
    { OUTCOME_POWEROFF, &lost_0, true, OUTCOME_TOOL_ERROR, 125 },
    { OUTCOME_POWEROFF, &lost_7, true, OUTCOME_EXIT, 7 },
    { OUTCOME_TIMEOUT, &exit_7, true, OUTCOME_EXIT, 7 },
    { OUTCOME_TIMEOUT, &exit_7, false, OUTCOME_TIMEOUT, 124 },
    { OUTCOME_STOPPED, &exit_7, true, OUTCOME_EXIT, 7 },
    { OUTCOME_STOPPED, &exit_7, false, OUTCOME_STOPPED, 130 },
    { OUTCOME_PANIC, &exit_7, true, OUTCOME_PANIC, 122 },
    { OUTCOME_POWEROFF, &running, false, OUTCOME_GUEST_DOWN, 121 },
    { OUTCOME_REBOOT, &running, false, OUTCOME_GUEST_DOWN, 121 },
    { OUTCOME_GUEST_DOWN, &running, false, OUTCOME_GUEST_DOWN, 121 },
    { OUTCOME_PANIC, &running, false, OUTCOME_PANIC, 122 },
    { OUTCOME_TIMEOUT, &running, false, OUTCOME_TIMEOUT, 124 },
    { OUTCOME_TOOL_ERROR, &running, false, OUTCOME_TOOL_ERROR, 125 },
    { OUTCOME_POWEROFF, &nothing, false, OUTCOME_GUEST_DOWN, 121 },
    { OUTCOME_BOOT_FAILURE, &nothing, false, OUTCOME_BOOT_FAILURE, 123 },
};

static void what_counts_counts(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        struct verdict_facts facts = { .has_ended = verdicts[i].has_ended };
        struct outcome outcome = reach(&facts, verdicts[i].agent, verdicts[i].machine);

        assert_int_equal(outcome.kind, verdicts[i].expected);
        assert_int_equal(outcome_status(&outcome), verdicts[i].status);
    }
}

static void a_signal_that_killed_the_command_is_its_end(void **state)
{
    const struct agent_result killed = { .has_started = true,
                                         .end = AGENT_END_SIGNAL,
                                         .value = SIGKILL };
    struct verdict_facts facts = { .has_ended = true };
    (void)state;

    struct outcome outcome = reach(&facts, &killed, OUTCOME_POWEROFF);
    assert_int_equal(outcome_status(&outcome), 137);
    assert_string_equal(outcome.reason, "");
}

static void a_success_whose_output_was_lost_is_told_so(void **state)
{
    struct verdict_facts facts = { .has_ended = true };
    (void)state;

    assert_string_equal(
        reach(&facts, &lost_0, OUTCOME_POWEROFF).reason,
        "the command ended with status 0, but its output is lost: No space left on device");
    assert_string_equal(reach(&facts, &lost_7, OUTCOME_POWEROFF).reason, "");
}

static void a_command_beyond_its_time_is_told_so(void **state)
{
    struct verdict_facts facts = { 0 };
    (void)state;

    assert_string_equal(reach(&facts, &running, OUTCOME_TIMEOUT).reason,
                        "the command did not end within --timeout");
}

static void what_the_kernel_cannot_do_is_a_boot_failure(void **state)
{
    const struct agent_result agent = {
        .is_up = true, .end = AGENT_END_FAILED, .value = 123, .text = "no virtiofs"
    };
    struct verdict_facts facts = { .has_ended = true };
    (void)state;

    struct outcome outcome = reach(&facts, &agent, OUTCOME_POWEROFF);
    assert_int_equal(outcome.kind, OUTCOME_BOOT_FAILURE);
    assert_string_equal(outcome.reason, "no virtiofs");
}

static void a_command_that_is_not_there_is_told_with_its_words(void **state)
{
    const struct agent_result agent = {
        .is_up = true, .end = AGENT_END_FAILED, .value = 127, .text = "'x': not found"
    };
    struct verdict_facts facts = { .has_ended = true };
    (void)state;

    struct outcome outcome = reach(&facts, &agent, OUTCOME_POWEROFF);
    assert_int_equal(outcome_status(&outcome), 127);
    assert_string_equal(outcome.reason, "'x': not found");
}

static void an_agent_that_is_broken_is_the_guest_s_end_and_not_ours(void **state)
{
    const struct agent_result early = { .end = AGENT_END_BROKEN, .text = "talks nonsense" };
    const struct agent_result late = { .has_started = true,
                                       .end = AGENT_END_BROKEN,
                                       .text = "talks nonsense" };
    struct verdict_facts facts = { .has_ended = true };
    (void)state;

    assert_int_equal(reach(&facts, &early, OUTCOME_POWEROFF).kind, OUTCOME_BOOT_FAILURE);
    struct outcome outcome = reach(&facts, &late, OUTCOME_POWEROFF);
    assert_int_equal(outcome.kind, OUTCOME_GUEST_DOWN);
    assert_string_equal(outcome.reason, "talks nonsense");
}

static void a_fault_of_the_kernel_counts_if_it_is_to(void **state)
{
    struct agent_result agent = exit_7;
    struct verdict_facts facts = { .has_ended = true };
    (void)state;

    agent.has_oops = true;
    strcpy(agent.oops, "BUG: here");
    struct outcome outcome = reach(&facts, &agent, OUTCOME_POWEROFF);
    assert_int_equal(outcome.kind, OUTCOME_EXIT);
    assert_string_equal(outcome.oops, "BUG: here");
    facts.oops_counts = true;
    outcome = reach(&facts, &agent, OUTCOME_POWEROFF);
    assert_int_equal(outcome_status(&outcome), 122);
    assert_string_equal(outcome_name(&outcome), "oops");
    assert_string_equal(outcome.reason, "the guest's kernel has a fault: BUG: here");
    assert_int_equal(reach(&facts, &agent, OUTCOME_PANIC).kind, OUTCOME_PANIC);
    assert_int_equal(reach(&facts, &agent, OUTCOME_TIMEOUT).kind, OUTCOME_OOPS);
    assert_int_equal(reach(&facts, &agent, OUTCOME_STOPPED).kind, OUTCOME_EXIT);
}

/* What is on the console: the reason. */
static const struct {
    enum outcome_kind machine;
    const char *console, *reason;
} reasons[] = {
    { OUTCOME_BOOT_FAILURE, "hutch-agent: one\r\nhutch-agent: two\r\nnoise\r\n",
      "the guest did not start the command within 5 ms: two" },
    { OUTCOME_BOOT_FAILURE, "hutch-agent: one\nInitramfs unpacking failed: junk\n",
      "the guest did not start the command within 5 ms: one" },
    { OUTCOME_BOOT_FAILURE, "noise\n", "the guest did not start the command within 5 ms" },
    { OUTCOME_BOOT_FAILURE, "",
      "the guest did not start the command within 5 ms: its console says nothing; -a loglevel=7 "
      "makes the kernel tell more, and hutch doctor whether KVM can run one here" },
    { OUTCOME_PANIC, "[ 1.0] Kernel panic - not syncing: sysrq triggered crash\n",
      "the guest's kernel panicked: sysrq triggered crash" },
    { OUTCOME_PANIC, "[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on x\n",
      "the guest's kernel panicked: the kernel did not take the initial RAM disk: is it built with "
      "CONFIG_BLK_DEV_INITRD?" },
    { OUTCOME_PANIC, "", "the guest's kernel panicked" },
    { OUTCOME_REBOOT, "", "the guest rebooted before the command ended" },
    { OUTCOME_POWEROFF, "", "the guest powered off before the command ended" },
    { OUTCOME_GUEST_DOWN, "", "the guest went down before the command ended" },
    { OUTCOME_PANIC, "hutch-agent: module x: error 8\nKernel panic - not syncing: this\n",
      "the guest's kernel panicked: this" },
    { OUTCOME_TIMEOUT, "", "the guest did not start the command within --timeout" },
    { OUTCOME_STOPPED, "noise\n", "" },
};

static void the_reason_is_found_on_the_console(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        struct tail console = { 0 };
        struct verdict_facts facts = { .boot_timeout_ms = 5,
                                       .console = &console,
                                       .console_is_kept = true };

        tail_add(&console, (const uint8_t *)reasons[i].console, strlen(reasons[i].console));
        assert_string_equal(reach(&facts, &nothing, reasons[i].machine).reason, reasons[i].reason);
    }
}

static void a_guest_may_say_as_much_as_it_likes(void **state)
{
    struct tail console = { 0 };
    struct verdict_facts facts = { .console = &console };
    char line[2048];
    (void)state;

    memset(line, 'x', sizeof(line));
    memcpy(line, "hutch-agent: ", strlen("hutch-agent: "));
    tail_add(&console, (const uint8_t *)line, sizeof(line));
    struct outcome outcome = reach(&facts, &nothing, OUTCOME_BOOT_FAILURE);
    assert_in_range(strlen(outcome.reason), 500, OUTCOME_REASON_MAX);
}

static void expect_words(const struct agent_result *agent, enum outcome_kind machine_kind,
                         bool has_ended, const char *expected)
{
    struct tail console = { 0 };
    struct verdict_facts facts = { .console = &console, .has_ended = has_ended };
    struct log_capture capture;

    tail_add(&console, (const uint8_t *)"last words\n", 11);
    struct outcome outcome = reach(&facts, agent, machine_kind);
    assert_int_equal(log_capture_begin(&capture), 0);
    verdict_tell(&facts, &outcome);
    const char *said = log_capture_read(&capture);
    log_capture_end(&capture);
    assert_string_equal(said, expected);
}

static void the_console_is_shown_when_the_machine_is_to_blame(void **state)
{
    (void)state;

    expect_words(&running, OUTCOME_PANIC, false,
                 "hutch: the guest's kernel panicked\n"
                 "hutch: the end of its console:\n"
                 "hutch: | last words\n");
}

static void nothing_is_said_when_the_command_ended_by_itself(void **state)
{
    (void)state;

    expect_words(&exit_7, OUTCOME_POWEROFF, true, "");
}

static void want_of_memory_is_told_of_a_command_that_failed(void **state)
{
    struct agent_result agent = exit_7;
    (void)state;

    agent.has_oom = true;
    strcpy(agent.oom, "Out of memory: Killed process 5 (x)");
    expect_words(
        &agent, OUTCOME_POWEROFF, true,
        "hutch: the guest's memory did not suffice: Out of memory: Killed process 5 (x)\n");
    agent.value = 0;
    expect_words(&agent, OUTCOME_POWEROFF, true, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts_counts),
        cmocka_unit_test(a_signal_that_killed_the_command_is_its_end),
        cmocka_unit_test(a_success_whose_output_was_lost_is_told_so),
        cmocka_unit_test(a_command_beyond_its_time_is_told_so),
        cmocka_unit_test(what_the_kernel_cannot_do_is_a_boot_failure),
        cmocka_unit_test(a_command_that_is_not_there_is_told_with_its_words),
        cmocka_unit_test(an_agent_that_is_broken_is_the_guest_s_end_and_not_ours),
        cmocka_unit_test(a_fault_of_the_kernel_counts_if_it_is_to),
        cmocka_unit_test(the_reason_is_found_on_the_console),
        cmocka_unit_test(a_guest_may_say_as_much_as_it_likes),
        cmocka_unit_test(the_console_is_shown_when_the_machine_is_to_blame),
        cmocka_unit_test(nothing_is_said_when_the_command_ended_by_itself),
        cmocka_unit_test(want_of_memory_is_told_of_a_command_that_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
