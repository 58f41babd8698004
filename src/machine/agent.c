// SPDX-License-Identifier: Apache-2.0
/* The conversation with the agent, as a state machine that callbacks drive: our streams, and when
 * it is over.
 *
 * The command has ended for our caller only when all its output was written: who is slow to read it
 * loses none. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent_private.h"
#include "devices/device.h"

enum {
    CREDIT_STEP = 4096,       /* less is not worth a frame */
    STREAM_SIZE = 256 * 1024, /* of each output: half of it is written while the other is filled */
};

/* --- our stdin --- */

static size_t agent_take_input(void *ctx, const uint8_t *data, size_t len)
{
    struct output *output = ctx;

    return agent_send_input(output->agent, data, len);
}

static void agent_input_ended(void *ctx)
{
    struct output *output = ctx;

    output->agent->input_end_is_due = true;
    agent_pump(output->agent);
}

static void agent_filter_input(void *ctx, uint8_t *data, size_t *len)
{
    struct output *output = ctx;
    const struct agent_params *params = &output->agent->params;

    params->filter(params->ctx, data, len);
}

/* --- how it ends --- */

void agent_tell_changed(struct agent *agent)
{
    agent->params.changed(agent->params.ctx);
}

/* The end is told when nothing of the output waits any more. */
static void try_to_end(struct agent *agent)
{
    if (!agent_is_over(agent) || agent->is_told_ended)
        return;
    for (size_t i = 0; i < OUTPUTS; i++) {
        if (!stream_drain(agent->outputs[i].stream))
            return;
    }
    agent->is_told_ended = true;
    agent_tell_changed(agent);
}

void agent_end_with(struct agent *agent, enum agent_end end, uint32_t value)
{
    if (agent_is_over(agent))
        return;
    agent->result.end = end;
    agent->result.value = value;
    try_to_end(agent);
}

void agent_fail(struct agent *agent, const char *why)
{
    if (agent_is_over(agent))
        return;
    (void)snprintf(agent->result.text, sizeof(agent->result.text), "the agent in the guest %s",
                   why);
    agent_end_with(agent, AGENT_END_BROKEN, 0);
}

/* --- our stdout and stderr --- */

void agent_give_credit(struct output *output)
{
    size_t room = output->is_closed ? 0 : stream_room(output->stream);

    if (output->has_ended || room < output->credit + CREDIT_STEP)
        return;
    output->credit_due += (uint32_t)(room - output->credit);
    output->credit = (uint32_t)room;
}

static void agent_output_ready(void *ctx)
{
    struct output *output = ctx;

    if (agent_is_over(output->agent)) {
        try_to_end(output->agent);
        return;
    }
    agent_give_credit(output);
    agent_pump(output->agent);
}

static void agent_output_failed(void *ctx, int err)
{
    struct output *output = ctx;
    struct agent *agent = output->agent;

    output->is_closed = output->close_is_due = true;
    if (output->id == AGENT_STDOUT && err != -EPIPE && err != -ETIME)
        agent->result.lost_err = err;
    agent->params.output_failed(agent->params.ctx, err);
    agent_pump(agent);
}

/* --- from the caller --- */

void agent_signal(struct agent *agent, int signal_number)
{
    if (signal_number > 0 && signal_number <= SIGNAL_MAX)
        agent->signals_due |= UINT64_C(1) << (signal_number - 1);
    agent_pump(agent);
}

void agent_resize(struct agent *agent, uint16_t columns, uint16_t rows)
{
    agent->window = (struct agent_window){ htole16(columns), htole16(rows) };
    agent->resize_is_due = true;
    agent_pump(agent);
}

const struct agent_result *agent_result(const struct agent *agent)
{
    return &agent->result;
}

static int open_output(struct agent *agent, size_t index, int input_fd, int output_fd)
{
    struct output *output = &agent->outputs[index];
    const struct stream_params params = {
        .loop = agent->params.loop,
        .guard = agent->params.guard,
        .input_fd = input_fd,
        .output_fd = output_fd,
        .input_size = AGENT_PAYLOAD_MAX,
        .output_size = STREAM_SIZE,
        .filter = input_fd >= 0 && agent->params.filter ? agent_filter_input : NULL,
        .receive = agent_take_input,
        .transmit_ready = agent_output_ready,
        .input_ended = input_fd >= 0 ? agent_input_ended : NULL,
        .output_failed = agent_output_failed,
        .ctx = output,
    };

    output->agent = agent;
    output->id = index == 0 ? AGENT_STDOUT : AGENT_STDERR;
    return stream_create(&params, &output->stream);
}

int agent_create(const struct agent_params *params, struct agent **ret)
{
    struct agent *agent = calloc(1, sizeof(*agent));

    if (!agent)
        return -ENOMEM;
    agent->params = *params;
    agent->input_end_is_due = params->input_fd < 0;
    int err = open_output(agent, 0, params->input_fd, params->output_fd);
    if (!err)
        err = open_output(agent, 1, -1, params->error_fd);
    if (err) {
        agent_destroy(agent);
        return err;
    }
    *ret = agent;
    return 0;
}

void agent_destroy(struct agent *agent)
{
    if (!agent)
        return;
    for (size_t i = 0; i < OUTPUTS; i++)
        stream_destroy(agent->outputs[i].stream);
    free(agent);
}
