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

#include "host/clock.h"
#include "host/log.h"
#include "host/terminal.h"
#include "machine/status.h"
#include "machine_private.h"
#include "verdict.h"
#include "virtio/console.h"
#include "virtio/console_ports.h"

enum {
    AGENT_PORT = 0,
    OOPS_MS = 1000, /* for what the kernel writes onto its console about a fault */
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

/* Says that something has happened now, once. */
static void note_time(struct command *command, uint64_t *time_ms, const char *event,
                      const char *key, const char *text)
{
    struct session *session = command->machine->session;
    uint64_t now_ms = clock_since_ns(session->launch_ns) / NS_PER_MS;

    if (*time_ms)
        return;
    *time_ms = now_ms ? now_ms : 1;
    if (event)
        status_tell(session->config->status_fd, now_ms, event, key, text);
}

/* Under --on-oops=fail it is the end, when the kernel has had time to tell where it happened. */
static void note_oops(struct command *command, const struct agent_result *result)
{
    bool is_new = !command->oops_ms;

    note_time(command, &command->oops_ms, "oops", "text", result->oops);
    if (is_new && command->machine->config->on_oops == ON_OOPS_FAIL)
        (void)loop_set_timer(command->oops_timer, OOPS_MS * NS_PER_MS);
}

static void command_changed(void *ctx)
{
    struct command *command = ctx;
    const struct agent_result *result = agent_result(command->agent);

    if (result->is_up)
        note_time(command, &command->up_ms, "up", "kernel", result->release);
    if (result->has_started)
        note_time(command, &command->started_ms, "started", NULL, NULL);
    if (result->has_oops)
        note_oops(command, result);
    if (result->has_oom)
        note_time(command, &command->oom_ms, "oom", "text", result->oom);
    if (is_over(command)) {
        /* All that the command wrote is with us: its machine may lose its power. */
        note_time(command, &command->ended_ms, NULL, NULL, NULL);
        machine_end(command->machine, OUTCOME_POWEROFF, 0);
    }
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
        console_say_help(command->escape.key, false);
}

/* --- timers --- */

static void on_boot_timeout(void *ctx)
{
    struct command *command = ctx;

    if (!agent_result(command->agent)->has_started && !is_over(command))
        machine_end(command->machine, OUTCOME_BOOT_FAILURE, 0);
}

static void on_oops_over(void *ctx)
{
    machine_end(((struct command *)ctx)->machine, OUTCOME_OOPS, 0);
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
        return err;
    err = make_ports(command);
    if (!err)
        err = make_agent(command);
    if (!err)
        err = loop_add_timer(machine->loop, &command->vdev->lock, on_boot_timeout, command,
                             &command->boot_timer);
    if (!err)
        err = loop_add_timer(machine->loop, NULL, on_oops_over, command, &command->oops_timer);
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

void machine_judge_command(struct machine *machine)
{
    struct command *command = &machine->command;
    struct outcome *outcome = &machine->outcome;

    if (!command->vdev || !command->agent)
        return;
    const struct verdict_facts facts = {
        .agent = agent_result(command->agent),
        .has_ended = command->ended_ms != 0,
        .oops_counts = machine->config->on_oops == ON_OOPS_FAIL,
        .boot_timeout_ms = machine->config->boot_timeout_ms,
        .console = &machine->consoles[CONSOLE_SERIAL].tail,
        .console_is_kept = machine->config->serial.kind == CONSOLE_TAIL,
    };
    outcome->up_ms = command->up_ms;
    outcome->started_ms = command->started_ms;
    outcome->ended_ms = command->ended_ms;
    verdict_reach(&facts, outcome);
    verdict_tell(&facts, outcome);
}
