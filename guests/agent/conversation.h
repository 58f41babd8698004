// SPDX-License-Identifier: Apache-2.0
/* The parts of the conversation with the host: out.c is what goes there, streams.c what is between
 * the host and the command, agent.c all else. */
#pragma once

#include "agent.h"

enum {
    FRAME_MAX = sizeof(struct agent_header) + AGENT_PAYLOAD_MAX,
    OUT_SIZE = 4 * FRAME_MAX,
    OUT_RESERVE = 8192,   /* room in @out for messages */
    INPUT_SIZE = 262144,  /* of stdin, which the command has not read */
    TERMINAL_END_MAX = 2, /* bytes, behind stdin */
    SIGNAL_SET_SIZE = 8,
};

struct out_stream {
    int *fd; /* the command's, or NULL */
    uint32_t credit;
    uint32_t left; /* to be read, when the command is reaped */
    bool has_ended, end_is_due;
};

enum phase { PHASE_JOB, PHASE_RUNNING, PHASE_ENDED };

struct agent {
    enum phase phase;
    bool is_init; /* not in a test */
    int port, log, signals;
    struct command command;
    bool is_reaped;
    uint32_t wait_status;
    struct out_stream outputs[3]; /* by enum agent_stream; the first is not used */
    size_t input_len, input_start;
    uint32_t input_credit; /* that the host has left */
    bool input_ended;
    bool has_open_line; /* what came last of stdin ends no line */
    size_t out_len, out_start;
    size_t in_len;
    struct job job;
    uint8_t input[INPUT_SIZE + TERMINAL_END_MAX], out[OUT_SIZE], in[2 * FRAME_MAX];
};

/* --- out.c --- */

/* How many bytes there is room for. */
size_t out_room(const struct agent *agent);
/* Where the next @len bytes go, for which there is room. */
uint8_t *out_end(struct agent *agent, size_t len);
/* A frame of two parts. Messages are few and small: there is room, as data leaves the reserve. */
void out_send_parts(struct agent *agent, uint16_t type, uint16_t stream, const void *first,
                    size_t first_len, const void *second, size_t second_len);
void out_send(struct agent *agent, uint16_t type, const void *data, size_t len);
/* Gives the port what it takes. */
void out_write(struct agent *agent);
/* Nobody waits for us any more. */
_Noreturn void out_leave(struct agent *agent);

/* --- streams.c --- */

/* Tells the host how much there is room for. */
void input_give_credit(struct agent *agent);
/* Takes what the host sent; false if that is more than it may. */
bool input_take(struct agent *agent, const uint8_t *data, uint32_t len);
/* There is no more of it. */
void input_end(struct agent *agent);
/* Gives the command what it takes. */
void input_write(struct agent *agent);

/* What to wait for until a stream has more for the host; -1: nothing. */
int output_wants(const struct agent *agent, uint16_t stream);
/* Reads what there is, as far as the host has room for it. */
void output_read(struct agent *agent, uint16_t stream);
/* A stream without credit may be at its end all the same, which it is when we see it empty. */
void output_look_for_end(struct agent *agent, uint16_t stream);
/* Nothing is read of it any more. */
void output_end(struct agent *agent, struct out_stream *output);
/* The command is reaped: what it wrote is there now, and all else is not its. */
void outputs_count_left(struct agent *agent);
/* Tells the host which have ended. */
void outputs_send_ends(struct agent *agent);
