// SPDX-License-Identifier: Apache-2.0
/* What the three parts of the conversation with the agent share: agent.c, which has our streams and
 * knows when it is over, agent_send.c, to the guest, and agent_receive.c, from it. All of it is
 * called with the guard held. */
#pragma once

#include "host/stream.h"
#include "machine/agent.h"

enum {
    FRAME_MAX = sizeof(struct agent_header) + AGENT_PAYLOAD_MAX,
    SIGNAL_MAX = 64,
    OUTPUTS = 2,
};

/* stdout, together with stdin, or stderr. */
struct output {
    struct agent *agent;
    struct stream *stream;
    uint16_t id;         /* enum agent_stream */
    uint32_t credit;     /* what the guest may send */
    uint32_t credit_due; /* part of it that the guest does not know yet */
    bool is_closed, close_is_due;
    bool has_ended; /* the guest said so */
};

struct agent {
    struct agent_params params;
    struct agent_result result;
    bool run_is_sent, is_told_ended;
    size_t job_sent; /* bytes of the job's records */
    uint64_t signals_due;
    bool resize_is_due, input_end_is_due;
    struct agent_window window;
    uint32_t input_credit;
    struct output outputs[OUTPUTS];
    size_t out_len, out_sent;
    size_t in_len;
    uint8_t out[FRAME_MAX], in[FRAME_MAX];
};

/* --- agent_send.c --- */

bool agent_is_over(const struct agent *agent);
/* Whether the command does. */
bool agent_is_running(const struct agent *agent);
/* Sends until the guest takes no more, or there is nothing left to say but input. */
void agent_pump(struct agent *agent);
/* Sends input, as far as the guest wants any and the last frame is out. Returns how much. */
size_t agent_send_input(struct agent *agent, const uint8_t *data, size_t len);

/* --- agent.c --- */

/* It went as @end says; the caller is told when all output was written. The first end counts. */
void agent_end_with(struct agent *agent, enum agent_end end, uint32_t value);
/* The same for an agent that "..." @why. */
void agent_fail(struct agent *agent, const char *why);
/* Lets the guest send what the stream has room for. */
void agent_give_credit(struct output *output);
/* The result changed. */
void agent_tell_changed(struct agent *agent);
