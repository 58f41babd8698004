// SPDX-License-Identifier: Apache-2.0
/* What is said to the agent: one frame at a time.
 *
 * There is no queue of frames: what is to be said is noted (a credit that grew, a signal, a new
 * size), and when the last frame is out, the most urgent of it becomes the next one, in the order
 * of next_frames[]; input comes last, and waits with our stdin until then. So nothing that the
 * guest does or leaves undone makes us keep more than that. */
#include <endian.h>
#include <string.h>

#include "agent_private.h"
#include "host/clock.h"

bool agent_is_over(const struct agent *agent)
{
    return agent->result.end != AGENT_END_NONE;
}

bool agent_is_running(const struct agent *agent)
{
    return agent->result.has_started && !agent_is_over(agent);
}

static void make_frame(struct agent *agent, enum agent_message type, uint16_t stream,
                       const void *data, size_t len)
{
    const struct agent_header header = { htole32((uint32_t)len), htole16(type), htole16(stream) };

    memcpy(agent->out, &header, sizeof(header));
    if (len > 0)
        memcpy(agent->out + sizeof(header), data, len);
    agent->out_len = sizeof(header) + len;
    agent->out_sent = 0;
}

static void make_run_frame(struct agent *agent)
{
    const struct agent_run run = { htole64(clock_now_ns(CLOCK_REALTIME)) };

    make_frame(agent, AGENT_RUN, 0, &run, sizeof(run));
    agent->run_is_sent = true;
}

static bool make_job_frame(struct agent *agent)
{
    const struct agent_job *job = agent->params.job;
    size_t len = job->len - agent->job_sent;

    if (!agent->result.is_up || agent->run_is_sent || agent_is_over(agent))
        return false;
    if (len == 0) {
        make_run_frame(agent);
        return true;
    }
    if (len > AGENT_PAYLOAD_MAX)
        len = AGENT_PAYLOAD_MAX;
    make_frame(agent, AGENT_JOB, 0, job->data + agent->job_sent, len);
    agent->job_sent += len;
    return true;
}

static bool make_signal_frame(struct agent *agent)
{
    if (!agent->signals_due || !agent_is_running(agent))
        return false;

    uint32_t number = (uint32_t)__builtin_ctzll(agent->signals_due) + 1;
    const uint32_t word = htole32(number);

    agent->signals_due &= agent->signals_due - 1;
    make_frame(agent, AGENT_SIGNAL, 0, &word, sizeof(word));
    return true;
}

static bool make_resize_frame(struct agent *agent)
{
    if (!agent->resize_is_due || !agent_is_running(agent))
        return false;
    agent->resize_is_due = false;
    make_frame(agent, AGENT_RESIZE, 0, &agent->window, sizeof(agent->window));
    return true;
}

static bool make_closed_frame(struct agent *agent)
{
    for (size_t i = 0; i < OUTPUTS && agent_is_running(agent); i++) {
        struct output *output = &agent->outputs[i];

        if (!output->close_is_due)
            continue;
        output->close_is_due = false;
        make_frame(agent, AGENT_OUTPUT_CLOSED, output->id, NULL, 0);
        return true;
    }
    return false;
}

static bool make_credit_frame(struct agent *agent)
{
    for (size_t i = 0; i < OUTPUTS && agent->run_is_sent; i++) {
        struct output *output = &agent->outputs[i];
        const uint32_t word = htole32(output->credit_due);

        if (!output->credit_due)
            continue;
        output->credit_due = 0;
        make_frame(agent, AGENT_OUTPUT_CREDIT, output->id, &word, sizeof(word));
        return true;
    }
    return false;
}

static bool make_input_end_frame(struct agent *agent)
{
    if (!agent->input_end_is_due || !agent_is_running(agent))
        return false;
    agent->input_end_is_due = false;
    make_frame(agent, AGENT_INPUT_END, 0, NULL, 0);
    return true;
}

static bool (*const next_frames[])(struct agent *) = {
    make_job_frame,    make_signal_frame, make_resize_frame,
    make_closed_frame, make_credit_frame, make_input_end_frame,
};

static bool make_next_frame(struct agent *agent)
{
    for (size_t i = 0; i < sizeof(next_frames) / sizeof(next_frames[0]); i++) {
        if (next_frames[i](agent))
            return true;
    }
    return false;
}

static bool out_is_empty(const struct agent *agent)
{
    return agent->out_sent == agent->out_len;
}

void agent_pump(struct agent *agent)
{
    while (!out_is_empty(agent) || make_next_frame(agent)) {
        size_t left = agent->out_len - agent->out_sent;
        size_t taken = agent->params.send(agent->params.ctx, agent->out + agent->out_sent, left);

        agent->out_sent += taken;
        if (taken < left)
            return;
    }
    if (agent->input_credit > 0 && agent_is_running(agent))
        stream_receive_ready(agent->outputs[0].stream);
}

void agent_send_ready(struct agent *agent)
{
    agent_pump(agent);
}

size_t agent_send_input(struct agent *agent, const uint8_t *data, size_t len)
{
    if (!out_is_empty(agent) || !agent_is_running(agent))
        return 0;
    if (len > agent->input_credit)
        len = agent->input_credit;
    if (len > AGENT_PAYLOAD_MAX)
        len = AGENT_PAYLOAD_MAX;
    if (len == 0)
        return 0;
    agent->input_credit -= (uint32_t)len;
    make_frame(agent, AGENT_INPUT, 0, data, len);
    agent_pump(agent);
    return len;
}
