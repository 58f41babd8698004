// SPDX-License-Identifier: Apache-2.0
/* The user's COMMAND: console ports with the agent's protocol behind them, our standard streams
 * before it, and what all of it says about how the machine ended.
 *
 * The agent's guard is the ports' lock, which the loop and the device hold when they call. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"
#include "host/terminal.h"
#include "machine_private.h"
#include "virtio/console.h"
#include "virtio/console_ports.h"

enum {
    NS_PER_MS = 1000000,
    AGENT_PORT = 0,
    BYE_MS = 2000, /* for the guest's power-off, when all is said */
};

static bool is_over(const struct command *command)
{
    return agent_result(command->agent)->end != AGENT_END_NONE;
}

/* --- between the ports and the agent --- */

static bool command_take_output(void *ctx, const uint8_t *data, size_t len)
{
    struct command *command = ctx;

    agent_receive(command->agent, data, len);
    return true;
}

static void command_send_ready(void *ctx)
{
    agent_send_ready(((struct command *)ctx)->agent);
}

static size_t command_send(void *ctx, const uint8_t *data, size_t len)
{
    return console_ports_receive(((struct command *)ctx)->vdev, AGENT_PORT, data, len);
}

/* --- what the agent tells --- */

static void command_changed(void *ctx)
{
    struct command *command = ctx;
    const struct agent_result *result = agent_result(command->agent);
    uint64_t now_ms = session_age_ns(command->machine->session) / NS_PER_MS;

    if (result->is_up && !command->up_ms)
        command->up_ms = now_ms ? now_ms : 1;
    if (result->has_started && !command->started_ms)
        command->started_ms = now_ms ? now_ms : 1;
    if (is_over(command))
        (void)loop_set_timer(command->bye_timer, BYE_MS * (uint64_t)NS_PER_MS);
}

static void command_output_failed(void *ctx, int err)
{
    (void)ctx;
    if (err != -EPIPE && err != -ETIME)
        (void)log_errno(err, "the command's output: what it writes from now on is lost");
}

static void command_filter(void *ctx, uint8_t *data, size_t *len)
{
    struct command *command = ctx;
    enum escape_command asked = escape_filter(&command->escape, data, len);

    if (asked == ESCAPE_QUIT)
        machine_end(command->machine, OUTCOME_STOPPED, SIGINT);
    else if (asked == ESCAPE_HELP)
        console_say_help(command->escape.key);
}

/* --- timers --- */

static void on_boot_timeout(void *ctx)
{
    struct command *command = ctx;

    if (!agent_result(command->agent)->has_started && !is_over(command))
        machine_end(command->machine, OUTCOME_BOOT_FAILURE, 0);
}

/* A guest that cannot power off is ended; nothing of it is missed. */
static void on_bye_over(void *ctx)
{
    machine_end(((struct command *)ctx)->machine, OUTCOME_POWEROFF, 0);
}

/* --- building and ending --- */

static int make_agent(struct command *command)
{
    struct machine *machine = command->machine;
    bool is_tty = machine->config->tty == TTY_ON;
    struct agent_params params = { .loop = machine->loop,
                                   .guard = &command->vdev->lock,
                                   .input_fd = STDIN_FILENO,
                                   .output_fd = STDOUT_FILENO,
                                   .error_fd = is_tty ? -1 : STDERR_FILENO,
                                   .job = &command->job,
                                   .send = command_send,
                                   .changed = command_changed,
                                   .output_failed = command_output_failed,
                                   .ctx = command };

    command->escape.key = -1;
    if (!machine->config->has_stdin || (isatty(STDIN_FILENO) && !terminal_is_ours(STDIN_FILENO)))
        params.input_fd = -1;
    if (is_tty && params.input_fd >= 0 && terminal_make_raw(STDIN_FILENO) == 0)
        command->escape.key = machine->config->escape_key;
    if (command->escape.key >= 0)
        params.filter = command_filter;
    return agent_create(&params, &command->agent);
}

static int make_ports(struct command *command)
{
    struct machine *machine = command->machine;
    const struct console_port_params port = { .name = AGENT_PORT_NAME,
                                              .transmit = command_take_output,
                                              .receive_ready = command_send_ready,
                                              .ctx = command };
    const struct console_ports_params params = {
        .mem = machine->mem, .loop = machine->loop, .ports = &port, .port_count = 1
    };
    struct virtio_dev *vdev;
    int err = console_ports_create(&params, &vdev);

    if (!err)
        err = machine_place_virtio(machine, vdev);
    if (!err)
        command->vdev = vdev;
    return err;
}

int add_command(struct machine *machine)
{
    struct command *command = &machine->command;
    int err;

    if (!machine->config->command)
        return 0;
    command->machine = machine;
    err = machine_make_job(machine->config, &command->job);
    if (err)
        return log_errno(err, "the command and its arguments");
    err = make_ports(command);
    if (!err)
        err = make_agent(command);
    if (!err)
        err = loop_add_timer(machine->loop, &command->vdev->lock, on_boot_timeout, command,
                             &command->boot_timer);
    if (!err)
        err = loop_add_timer(machine->loop, NULL, on_bye_over, command, &command->bye_timer);
    return err ? log_errno(err, "the command") : 0;
}

int machine_start_command(struct machine *machine)
{
    uint64_t limit_ms = machine->config->boot_timeout_ms;

    if (!machine->command.vdev || !limit_ms)
        return 0;
    return loop_set_timer(machine->command.boot_timer, limit_ms * NS_PER_MS);
}

void machine_stop_command(struct machine *machine)
{
    struct command *command = &machine->command;

    agent_destroy(command->agent);
    command->agent = NULL;
    agent_job_fini(&command->job);
}

bool machine_signal_command(struct machine *machine, int signal_number)
{
    struct command *command = &machine->command;
    bool is_there;

    pthread_mutex_lock(&command->vdev->lock);
    is_there = agent_result(command->agent)->has_started;
    if (is_there)
        agent_signal(command->agent, signal_number);
    pthread_mutex_unlock(&command->vdev->lock);
    return is_there;
}

void machine_resize_command(struct machine *machine)
{
    struct command *command = &machine->command;
    uint16_t columns, rows;

    if (!command->vdev || machine->config->tty != TTY_ON ||
        !terminal_size(STDOUT_FILENO, &columns, &rows))
        return;
    pthread_mutex_lock(&command->vdev->lock);
    agent_resize(command->agent, columns, rows);
    pthread_mutex_unlock(&command->vdev->lock);
}

/* --- how it ended --- */

static void print_line(void *ctx, const char *text)
{
    (void)ctx;
    log_error("| %s", text);
}

/* Keeps the last line in which the agent says what it misses. */
static void find_reason(void *ctx, const char *text)
{
    const char *said = strstr(text, "hutch-agent: ");

    if (said)
        (void)snprintf(ctx, AGENT_TEXT_MAX, ": %s", said + strlen("hutch-agent: "));
}

static void explain(struct machine *machine)
{
    const struct tail *tail = &machine->consoles[CONSOLE_SERIAL].tail;
    char reason[AGENT_TEXT_MAX] = "";

    switch (machine->outcome.kind) {
    case OUTCOME_BOOT_FAILURE:
        tail_each(tail, find_reason, reason);
        log_error("the guest did not start the command within %ju ms%s",
                  (uintmax_t)machine->config->boot_timeout_ms, reason);
        break;
    case OUTCOME_GUEST_DOWN:
        log_error("the guest went down before the command ended");
        break;
    case OUTCOME_PANIC:
        log_error("the guest's kernel panicked");
        break;
    case OUTCOME_TIMEOUT:
        log_error("the command did not end within --timeout");
        break;
    default:
        return;
    }
    if (tail->head > 0)
        log_error("the end of its console:");
    tail_each(tail, print_line, NULL);
}

/* What the command's end means for the machine's. */
static void take_end(struct machine *machine, const struct agent_result *result)
{
    struct outcome *outcome = &machine->outcome;

    switch (result->end) {
    case AGENT_END_NONE:
        if (outcome->kind == OUTCOME_POWEROFF || outcome->kind == OUTCOME_REBOOT)
            outcome->kind = OUTCOME_GUEST_DOWN;
        return;
    case AGENT_END_EXIT:
        outcome->kind = OUTCOME_EXIT;
        break;
    case AGENT_END_SIGNAL:
        outcome->kind = OUTCOME_SIGNAL;
        break;
    case AGENT_END_FAILED:
        outcome->kind =
            result->value == STATUS_BOOT_FAILURE ? OUTCOME_BOOT_FAILURE : OUTCOME_NOT_STARTED;
        log_error("%s", result->text);
        break;
    }
    outcome->value = result->value;
}

void machine_judge_command(struct machine *machine)
{
    struct command *command = &machine->command;

    if (!command->vdev || !command->agent)
        return;
    const struct agent_result *result = agent_result(command->agent);
    machine->outcome.up_ms = command->up_ms;
    machine->outcome.started_ms = command->started_ms;
    (void)snprintf(machine->outcome.kernel, sizeof(machine->outcome.kernel), "%s", result->release);
    if (machine->outcome.kind != OUTCOME_TIMEOUT && machine->outcome.kind != OUTCOME_STOPPED)
        take_end(machine, result);
    if (result->end != AGENT_END_FAILED) /* that was said */
        explain(machine);
}
